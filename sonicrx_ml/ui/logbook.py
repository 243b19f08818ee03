"""The session log on the page: before, after, save; and a chart over the sessions of a listener."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from sqlalchemy.exc import SQLAlchemyError

from sonicrx_ml import plots
from sonicrx_ml.hearing import ADULT, CHILD
from sonicrx_ml.journal import Journal
from sonicrx_ml.outcomes import before_after
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.session import FIGURES, PAIRS, Session, dose
from sonicrx_ml.ui import fields
from sonicrx_ml.ui.widgets import Actions, Form
from sonicrx_ml.ui.words import refusal_html, warnings_html


class Logbook(widgets.VBox):
    """A form for one session of a track, and what was logged before.

    folder : where journals are, one for each listener (see `journal`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.form = Form(fields.session())
        self.actions = Actions([("save", "Save the session", "primary")])
        self.actions.on = {"save": self.save}
        self.chart = widgets.HTML()
        self.listener: str | None = None
        self.child = False
        self.prescription: Prescription | None = None
        self.track = ""
        self.entered: dict[str, Any] = {}
        self.form.changed = self._changed
        super().__init__([self.form, self.actions, self.chart])
        self.ready()

    def about(
        self, listener: str | None, child: bool, prescription: Prescription | None, track: str = ""
    ) -> None:
        """Whose session it would be, and of what; `track` names it."""
        if prescription != self.prescription or self.listener not in (None, listener):
            self.entered.clear()
        other = listener != self.listener
        self.listener, self.child, self.prescription = listener, child, prescription
        self.track = track
        self.ready()
        if other:
            self.show()

    def ready(self) -> None:
        """Show what would be saved, and whether it can be."""
        self.form.values = self._values()
        missing = [said for said, found in (
            ("a listener's pseudonym", self.listener),
            ("a track that is kept or opened from a file", self.prescription),
        ) if not found]  # fmt: skip
        self.actions.enabled = [] if missing else ["save"]
        if missing:
            self.actions.text = f"To log a session there must be {' and '.join(missing)}."
        else:
            self.actions.text = f"A session of {self.listener} with {self.track}."

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {"stopped": "finished"}
        if self.prescription is not None:
            values["minutes"] = round(self.prescription.duration_s / 60, 2)
            values["level_db_spl"] = self.prescription.playback_db_spl
        return values | self.entered

    def _changed(self, name: str, value: Any) -> None:
        self.entered[name] = value
        self.form.errors, self.actions.alarm = {}, ""
        self.ready()

    def save(self) -> None:
        """Write the session down; what is not legal is said beside its field."""
        if self.listener is None or self.prescription is None:
            return self.ready()
        values = self._values()
        figures: dict[str, Any] = {name: values.get(name) for name in FIGURES}
        try:
            session = Session(
                listener=self.listener, prescription=self.prescription, began=datetime.now(UTC),
                stopped=values["stopped"], **figures,
            ).heard_once()  # fmt: skip
            number = Journal(self.folder, self.listener).append(session)
        except (ValueError, OSError, SQLAlchemyError) as error:
            self.form.errors = {str(error).split(" ", 1)[0]: str(error)}
            self.actions.alarm = f"Not saved: {error}"
            return
        self.entered.clear()
        self.form.values, self.form.errors = self._values(), {}
        self.actions.alarm = ""
        self.actions.enabled = []  # once is enough, until something is entered
        self.actions.text = f"Saved as session {number} of {self.listener}."
        self.show()

    def show(self) -> None:
        """The chart and the hearing dose of the listener's sessions."""
        if self.listener is None or not (self.folder / f"{self.listener}.sqlite").is_file():
            self.chart.value = ""
            return
        try:
            sessions = Journal(self.folder, self.listener).sessions()
        except (ValueError, OSError, SQLAlchemyError) as error:
            self.chart.value = refusal_html(f"the journal cannot be read: {error}")
            return
        warning = dose(sessions, datetime.now(UTC), CHILD if self.child else ADULT).warning
        self.chart.value = warnings_html([warning] if warning else []) + chart_html(sessions)


def chart_html(sessions: list[Session]) -> str:
    """A chart where there are ratings, and the same in words, newest first."""
    rated = any(getattr(s, f"{pair}_before") is not None for s in sessions for pair in PAIRS)
    chart = plots.svg(before_after(sessions)) if rated else ""
    rows = "".join(f"<li>{escape(_line(session))}</li>" for session in reversed(sessions))
    return (
        f"<div class='chart' aria-hidden='true'>{chart}</div>"
        f"<details><summary>{len(sessions)} sessions in words</summary><ul>{rows}</ul></details>"
    )


def _line(session: Session) -> str:
    parts = [
        f"{session.began:%Y-%m-%d %H:%M} UTC",
        f"{session.minutes:g} min at {session.level_db_spl:g} dB SPL",
        session.stopped,
    ]
    for pair in PAIRS:
        before, after = (getattr(session, f"{pair}_{when}") for when in ("before", "after"))
        if before is not None:
            parts.append(f"{pair.upper()} {before:g} → {after:g}")
    return ", ".join(parts)
