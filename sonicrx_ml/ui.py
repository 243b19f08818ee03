"""The clinician's page: choose a goal, generate, listen, check. Widgets only; a notebook shows it.

Every control starts at what the goal's preset says, or open, and what will be asked stands in a
sentence below. What cannot be asked is refused in a sentence too; a notebook never shows a
traceback for it. The group `notebook` provides ipywidgets.
"""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from sonicrx_ml import checkpoint
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import check, compose, produce
from sonicrx_ml.curve import Curve
from sonicrx_ml.goals import Evidence, evidence, goal_names, library, prescribe
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.prescription import MODES, OPEN_INSTRUMENTS, TONICS, Prescription
from sonicrx_ml.report import WORDING
from sonicrx_ml.sampling import SamplingConfig

SAMPLING = SamplingConfig(best_of=4)

FRAME_PX = 900  # height of the report
FIRST_MINUTES = 2.0  # short enough to hear at once; the preset's own length is shown beside it
WIDE = widgets.Layout(width="26rem")


class ClinicianPage(widgets.VBox):
    """The page as one widget: the last line of a notebook's cell shows it.

    checkpoint : folder of the release bundle, read at the first `generate`.
    out : where track folders are left.
    """

    def __init__(self, checkpoint: Path | str, out: Path | str) -> None:
        self.checkpoint, self.out = Path(checkpoint), Path(out)
        self.goal = widgets.Dropdown(
            options=[(evidence(name).title, name) for name in goal_names()],
            **_named("Goal"),
        )
        self.minutes = widgets.FloatText(FIRST_MINUTES, step=0.5, **_named("Length, minutes"))
        self.key = widgets.Dropdown(options=["any", *TONICS], **_named("Key"))
        self.mode = widgets.Dropdown(options=["as the goal", *MODES], **_named("Mode"))
        self.seed = widgets.IntText(0, **_named("Take number (seed)"))
        self.instruments = widgets.SelectMultiple(
            options=[(f"{name.replace('_', ' ')} ({family})", name)
                     for name, (_, family) in PALETTE.items()],
            rows=8, **_named("Instruments"),
        )  # fmt: skip
        self.evidence, self.asked = widgets.HTML(), widgets.HTML()
        self.generate = widgets.Button(
            description="Generate", icon="music", button_style="primary", layout=WIDE
        )
        self.status, self.result = widgets.HTML(), widgets.HTML()
        self._controls = (
            self.goal, self.minutes, self.key, self.mode, self.instruments, self.seed
        )  # fmt: skip
        super().__init__([
            widgets.HTML(f"<p>{escape(WORDING)}</p>"),
            widgets.HBox(
                [
                    widgets.VBox([*self._controls, self.generate]),
                    widgets.VBox([self.evidence, self.asked], layout={"flex": "1 1 24rem"}),
                ],
                layout={"flex_flow": "row wrap", "grid_gap": "0 2rem"},
            ),
            self.status,
            self.result,
        ])  # fmt: skip
        self.goal.observe(self._show_goal, "value")
        for control in self._controls:
            control.observe(self._show_asked, "value")
        self.generate.on_click(self._generate)
        self._show_goal()
        self._show_asked()

    @cached_property
    def bundle(self) -> Bundle:
        return checkpoint.load(self.checkpoint)

    def prescription(self) -> Prescription:
        """What the controls say. Raises `ValueError` that says what is illegal."""
        given: dict[str, Any] = {"seed": self.seed.value}
        if self.key.value in TONICS:
            given["key"] = self.key.value
        if self.mode.value in MODES:
            given["mode"] = self.mode.value
        if self.instruments.value:
            given["instruments"] = self.instruments.value
        return prescribe(self.goal.value, 60 * self.minutes.value, **given)

    def _show_goal(self, _: object = None) -> None:
        found = evidence(self.goal.value)
        preset = found.parameter("instruments")
        self.evidence.value = evidence_html(found)
        self.instruments.value = preset.value if preset else ()

    def _show_asked(self, _: object = None) -> None:
        try:
            self.asked.value = f"<p><b>Asked:</b> {escape(describe(self.prescription()))}</p>"
            self.generate.disabled = False
        except ValueError as error:
            self.asked.value = _alert(error)
            self.generate.disabled = True

    def _generate(self, _: object = None) -> None:
        """Compose, render, judge and show; the page waits meanwhile."""
        self.generate.disabled, self.result.value = True, ""
        try:
            prescription = self.prescription()
            check(self.out)
            self._say(f"Composing {describe(prescription)} …")
            (composition,) = compose([prescription], self.bundle, SAMPLING)
            self._say("Rendering and checking …")
            track = produce(composition, self.bundle, SAMPLING)
            folder = track.save(self.out / prescription.label)
            page = (folder / "report.html").read_text(encoding="utf-8")
            self.result.value = _framed(page)
            self._say(f"Saved in {folder}: sound (FLAC), notes (MIDI), report, prescription.")
        except (ValueError, OSError) as error:
            self.status.value = _alert(error)
        finally:
            self.generate.disabled = False

    def _say(self, text: str) -> None:
        self.status.value = f"<p role='status'>{escape(text)}</p>"


def describe(prescription: Prescription) -> str:
    """A prescription in a sentence: length, tempo, key, instruments."""
    names = [n.replace("_", " ") for n in prescription.instruments or OPEN_INSTRUMENTS]
    parts = [_length(prescription.duration_s), _pace(prescription.tempo_curve), _key(prescription)]
    if prescription.final_silence_s:
        parts.append(f"the last {_length(prescription.final_silence_s)} silent")
    return f"{', '.join(parts)}; {', '.join(names)}"


def evidence_html(found: Evidence) -> str:
    """What is known about a goal, with the mark of its strength and its sources."""
    usual = found.parameter("duration_s")
    length = f" Usual length: {_length(usual.value)} ({usual.reason})." if usual else ""
    return (
        f"<p><b>{escape(found.title)}</b>: {escape(found.claim)}</p>"
        f"<p>Evidence: <b>{found.strength}</b>, {escape(library().strengths[found.strength])} "
        f"({escape('; '.join(found.citations))}).{escape(length)}</p>"
        f"<p>⚠ {escape(found.caution)}</p>"
    )


def _named(label: str) -> dict[str, Any]:
    return {"description": label, "style": {"description_width": "9rem"}, "layout": WIDE}


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    parts = [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts) or "0 s"


def _key(prescription: Prescription) -> str:
    if prescription.key is None:
        return f"any {prescription.mode or ''} key".replace("  ", " ")
    return f"{prescription.key} {prescription.mode or 'major'}"


def _pace(tempo: Curve) -> str:
    first, last = tempo.points[0][1], tempo.points[-1][1]
    levels = [value for _, value in tempo.points]
    if min(levels) == max(levels):
        return f"{first:g} beats per minute"
    between = [f"{v:g}" for v in (min(levels), max(levels)) if v not in (first, last)]
    return " to ".join([f"from {first:g}", *between, f"{last:g} beats per minute"])


def _alert(error: Exception) -> str:
    return f"<p role='alert'><b>✗ Not possible:</b> {escape(str(error))}</p>"


def _framed(page: str) -> str:
    return (
        f"<div><iframe title='Sound and conformance report' srcdoc='{escape(page)}' "
        f"style='width:100%;height:{FRAME_PX}px;border:1px solid #8888'></iframe></div>"
    )
