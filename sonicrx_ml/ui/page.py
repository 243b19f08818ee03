"""The clinician's page: listener, goal, adjust, generate, listen, check, export, log.

Nothing here shows a traceback: what cannot be done is said in a sentence. What was chosen is kept
in the browser's tab (see `widgets.Keeper`), what was made in a folder of the visitor's own, so a
page that is loaded anew has both.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from sonicrx_ml import checkpoint
from sonicrx_ml.asking import takes as takes_of
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.course import Course
from sonicrx_ml.drawing import FIGURE_STYLE
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.goals import evidence
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.report import WORDING
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.ui import asking, fields, words
from sonicrx_ml.ui.asking import Asking
from sonicrx_ml.ui.courses import CoursePanel
from sonicrx_ml.ui.fields import OWN_GOAL
from sonicrx_ml.ui.jobs import Job, Worker
from sonicrx_ml.ui.logbook import Logbook
from sonicrx_ml.ui.making import make, time_to_make
from sonicrx_ml.ui.takes import FORMATS, Take, export, instrument_sound
from sonicrx_ml.ui.widgets import Actions, Content, Form, Keeper, Player

SHOWN = 2  # takes side by side
FORMAT_NAMES = {"flac": "FLAC", "wav": "WAV", "mp3": "MP3", "opus": "Opus"}


class ClinicianPage(widgets.VBox):
    """The page as one widget: the last line of a notebook's cell shows it.

    checkpoint : folder of the release bundle, read at the first `generate`.
    out : where takes are left, in a folder for each visitor.
    journals : where journals are, one for each listener.
    """

    def __init__(self, checkpoint: Path | str, out: Path | str, journals: Path | str) -> None:
        self.checkpoint, self.out = Path(checkpoint), Path(out)
        self.state = Asking()
        self.worker = Worker()
        self.job: Job | None = None
        self.takes: list[Take] = []
        self.kept: Take | None = None
        self.opened: tuple[str, Prescription] | None = None
        """A track that was opened from a file; a session is of it, until a take is kept."""
        self.chosen: list[str] = []
        """Names of the folders of the takes side by side."""
        self._files: dict[str, Content] = {}
        self._make_widgets(Path(journals))
        super().__init__(self._layout())
        self.add_class("sonicrx-page")
        self._connect()
        self._goal_changed()
        self._show_takes()

    # ------------------------------------------------------------ the widgets

    def _make_widgets(self, journals: Path) -> None:
        self.keeper = Keeper(self._file)
        self.person = Form(fields.listener())
        self.asking = Form(fields.asking(), self._file)
        self.again = Form(fields.again())
        self.evidence, self.asked, self.fitted = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.profile = Actions([("save", "Save the profile", "small")], enabled=["save"])
        self.actions = Actions(
            [("generate", "Generate", "primary"), ("cancel", "Cancel", "")], guard=True
        )
        self.unheard = widgets.HTML(words.TO_BE_HEARD)
        self.players = widgets.Box()
        self.players.add_class("sonicrx-takes")
        self.compare = Form([])
        self.early: Player | None = None
        self.check, self.whole = widgets.HTML(), widgets.HTML()
        self.report = Actions([("report", "Show the whole report", "")])
        self.formats = Form([{"title": "", "help": "", "fields": [{
            "kind": "sounds", "name": "formats", "label": "Sound as", "hint": "MIDI, JSON, report "
            "and the label to print are always in it.",
            "options": [["", [[kind, FORMAT_NAMES[kind]] for kind in FORMATS]]],
        }]}])  # fmt: skip
        self.formats.values = {"formats": ["flac"]}
        self.export = Actions([("export", "Export as one zip", "primary")])
        self.logbook = Logbook(journals)
        self.courses = CoursePanel(self.worker, lambda: self.bundle, self._course, self._download)

    def _layout(self) -> list[widgets.Widget]:
        left = widgets.VBox([
            _heading("1 Listener"), self.person, self.profile,
            _heading("2 Goal and music"), self.again, self.asking,
        ])  # fmt: skip
        asked = widgets.VBox([self.asked, self.actions])
        asked.add_class("sonicrx-asked")  # stays in sight
        right = widgets.VBox([
            _heading("3 What is asked"), self.evidence, asked, self.fitted,
            _heading("4 Listen"), self.unheard, self.compare, self.players,
            _heading("5 Check"), self.check, self.report, self.whole,
            _heading("6 Export"), self.formats, self.export,
            _heading("7 Session log"), self.logbook,
            _heading("8 Course"), self.courses,
        ])  # fmt: skip
        columns = widgets.Box([left, right])
        columns.add_class("sonicrx-columns")
        top = f"<style>{FIGURE_STYLE}</style><h1>Listening plans</h1><p>{escape(WORDING)}</p>"
        return [self.keeper, widgets.HTML(top), columns, widgets.HTML(words.marks_html())]

    def _connect(self) -> None:
        self.keeper.observe(lambda change: self._arrived(change["new"]), "found")
        self.person.changed = self._person_changed
        self.person.uploaded = self._profile_given
        self.asking.changed = self._asking_changed
        self.asking.uploaded = self._anchor_given
        self.again.uploaded = self._manifest_given
        for form in (self.person, self.asking, self.again):
            form.refused = self._file_refused(form)
        self.profile.on = {"save": self._save_profile}
        self.actions.on = {"generate": self.generate, "cancel": self.cancel}
        self.compare.changed = self._compare_changed
        self.report.on = {"report": self._show_report}
        self.formats.changed = lambda name, value: self.formats.set_trait("values", {name: value})
        self.export.on = {"export": self.export_zip}

    # ------------------------------------------------------------ who visits

    @property
    def visitor(self) -> str:
        """Who visits: a random name, the tab's own; it is nobody's but this page's."""
        if not self.keeper.visitor:
            self.keeper.visitor = secrets.token_hex(12)
        return str(self.keeper.visitor)

    @property
    def folder(self) -> Path:
        return self.out / self.visitor

    def _arrived(self, found: dict[str, Any]) -> None:
        """The tab remembers a visit: take up what was chosen and what was made."""
        if self.keeper.visitor or not re.fullmatch(r"[0-9a-f]{24}", str(found.get("visitor"))):
            return
        self.keeper.visitor = found["visitor"]
        draft = found.get("draft") or {}
        interrupted = bool(draft.get("busy"))
        try:
            self.state = Asking.of_draft(draft.get("asking", {}))
            self._goal_changed()
        except (ValueError, TypeError, KeyError):
            self.state = Asking()  # of another version: the preset is what is left
            self._goal_changed()
        self.takes = Take.all_in(self.folder)
        kept = [take for take in self.takes if take.folder.name == draft.get("kept")]
        self._keep(kept[0] if kept else (self.takes[-1] if self.takes else None))
        if opened := draft.get("opened"):
            with contextlib.suppress(ValueError, TypeError, KeyError):  # of another version: closed
                self.opened = opened[0], Prescription.from_dict(opened[1])
            self._about_log()
            self._remember()
        if interrupted:
            self.actions.text = (
                "The page was loaded anew while a take was made. Your choices are as they were: "
                "Generate makes the same take again."
            )

    def _remember(self) -> None:
        self.keeper.draft = {
            "asking": self.state.draft(),
            "kept": self.kept.folder.name if self.kept else None,
            "opened": self.opened and [self.opened[0], self.opened[1].to_dict()],
            "busy": self.job is not None,
        }

    # ------------------------------------------------------------ what is asked

    def ask(self, **values: Any) -> None:
        """Enter values into the asking form, as a person would."""
        for name, value in values.items():
            self._asking_changed(name, value)

    def _asking_changed(self, name: str, value: Any) -> None:
        self.state.enter(name, value)
        self._goal_changed() if name == "goal" else self._show_asked()

    def _person_changed(self, name: str, value: Any) -> None:
        self.state.enter_person(name, value)
        self._show_asked()

    def _goal_changed(self) -> None:
        known = self.state.goal != OWN_GOAL
        self.evidence.value = words.evidence_html(evidence(self.state.goal)) if known else ""
        self._show_asked()

    def _show_asked(self) -> None:
        """The forms and the sentence, as what was entered comes to."""
        self.person.values = dict(self.state.person)
        try:
            found, plan = self.state.prescription()
        except ValueError as error:
            self._show_refused(error)
        else:
            self._show_prescription(found, plan)
        self._ready()
        self._about_log()
        self._remember()

    def _show_prescription(self, found: Prescription, plan: ListeningPlan | None) -> None:
        values = asking.shown(self.state, found)
        self.asking.errors, self.person.errors = {}, {}
        self.asking.seconds = found.music_s
        self.asking.marks = asking.marks(self.state, found, plan)
        self.asking.values = values
        took = time_to_make(found.duration_s, self.state.takes, self.state.best_of)
        self.asked.value = words.asked_html(words.describe(found), took)
        self.fitted.value = words.fitted_html(plan) if plan else ""

    def _show_refused(self, error: ValueError) -> None:
        place, why = asking.place_of(error), asking.said(error)
        errors = {place: why} if place else {}
        self.asking.values = asking.entered(self.state, self.asking.values)
        self.asking.errors = self.person.errors = errors
        self.asked.value = words.refusal_html(why)
        self.fitted.value = ""

    def _ready(self) -> None:
        """Which buttons may be pressed now."""
        legal = not self.asked.value.startswith("<p class='alert'")
        self.actions.busy = self.job is not None
        self.actions.enabled = ["cancel"] if self.job else ["generate"] * legal
        able = self.kept is not None
        self.report.enabled = ["report"] * able
        self.export.enabled = ["export"] * able

    # ------------------------------------------------------------ files that are given

    def _file_refused(self, form: Form) -> Any:
        def refused(name: str, why: str) -> None:
            form.errors = {name: why}

        return refused

    def _profile_given(self, name: str, file: str, content: bytes) -> None:
        try:
            self.state.profile(content)
        except (ValueError, TypeError) as error:
            self.person.errors = {name: f"{file}: {error}"}
            return
        self._show_asked()

    def _anchor_given(self, name: str, file: str, content: bytes) -> None:
        try:
            self.state.take_motif(file, content)
        except (ValueError, TypeError) as error:
            self.asking.errors = {name: f"{file}: {error}"}
            return
        self._show_asked()

    def _manifest_given(self, name: str, file: str, content: bytes) -> None:
        before = replace(self.state)
        try:
            found = self.state.restore(content)
        except (ValueError, TypeError) as error:
            self.state = before
            self.again.errors = {name: f"{file}: {error}"}
            return
        self.again.errors, self.opened = {}, (f"the opened track {found.id}", found)
        self._goal_changed()

    def _save_profile(self) -> None:
        try:
            listener = self.state.listener()
            if listener is None:
                raise ValueError("id is empty; legal is a pseudonym, as P07")
        except ValueError as error:
            self.profile.alarm = str(error)
            return
        self.profile.alarm = ""
        self._download(f"{listener.id}.json", listener.to_json().encode())

    # ------------------------------------------------------------ generate

    @cached_property
    def bundle(self) -> Bundle:
        return checkpoint.load(self.checkpoint)

    def generate(self) -> None:
        """Make the takes asked for, in the worker's thread."""
        if self.job is not None:
            return
        try:
            first, plan = self.state.prescription()
            asked = takes_of(first, self.state.takes)
            sampling, folder = self.state.sampling(), self.folder
        except ValueError as error:
            self._show_refused(error)
            return self._ready()
        self.early = Player(self._file, name="Being composed", summary=words.describe(first))
        self.actions.alarm, self.actions.share = "", 0.0
        self.actions.text = "Getting the composer ready …"
        self.job = self.worker.job(self._stepped)
        self._ready()
        self._remember()
        self.worker.start(
            self.job,
            lambda job: make(job, asked, self.bundle, sampling, plan, folder, self._heard),
            self._made,
            self._failed,
        )

    def cancel(self) -> None:
        """Stop making; what was made before stays."""
        if self.job is None:
            return
        self.job.cancel()
        self._over("Cancelled; only takes that were whole are kept.")

    def _stepped(self, share: float, text: str) -> None:
        self.actions.share, self.actions.text = share, text

    def _heard(self, sound: bytes, picture: str) -> None:
        """The first of a take can be heard; so it is shown, before the others."""
        if self.early is None:
            return
        name = f"early/{len(sound)}/{self.visitor}.mp3"
        self._files = {k: v for k, v in self._files.items() if not k.startswith("early/")}
        self._files[name] = sound
        self.early.figure, self.early.sound = picture, name
        if self.early not in self.players.children:
            self.players.children = (self.early, *self.players.children[: SHOWN - 1])
            self.unheard.layout.display = "none"

    def _made(self, takes: list[Take]) -> None:
        again = {take.folder for take in takes}
        if (
            self.early and self.early in self.players.children
        ):  # whoever listens already goes on listening
            self._fill(self.early, takes[0])
        self.takes = [*(t for t in self.takes if t.folder not in again), *takes]
        self._over("Made, checked and saved.")
        self.chosen = []
        self._keep(max(takes, key=lambda take: take.report.merit))

    def _failed(self, why: str) -> None:
        self._over("")
        self.actions.alarm = f"Not made: {why}"

    def _over(self, said: str) -> None:
        self.job, self.early = None, None
        self.actions.text = said
        self._ready()
        self._remember()
        self._show_takes()

    # ------------------------------------------------------------ listen, check

    def _keep(self, take: Take | None) -> None:
        self.kept, self.opened = take, None
        self._show_takes()
        self._ready()
        self._about_log()
        self._remember()

    def _side_by_side(self) -> list[Take]:
        """The takes chosen to compare, else the newest, the one that is kept among them."""
        by_name = {take.folder.name: take for take in self.takes}
        found = [by_name[name] for name in self.chosen if name in by_name]
        if not found:
            found = self.takes[-SHOWN:]
            if self.kept is not None and self.kept not in found:
                found = [self.kept, *found[1:]]
        return found

    def _show_takes(self) -> None:
        shown = self._side_by_side()
        older = {player.sound: player for player in self.players.children}
        self.players.children = [older.get(take.sound) or self._player(take) for take in shown]
        for player, take in zip(self.players.children, shown, strict=True):
            player.kept = take is self.kept
        self._show_compare(shown)
        self.unheard.layout.display = "none" if shown else ""
        if not shown:
            self.check.value = words.NOTHING_YET
        elif self.kept is not None:
            self.check.value = words.check_html(self.kept.report)
        self.whole.value = ""

    def _player(self, take: Take) -> Player:
        player = Player(self._file)
        self._fill(player, take)
        return player

    def _fill(self, player: Player, take: Take) -> None:
        """Have a player show a take."""
        with player.hold_sync():
            player.name, player.summary, player.figure = take.name, take.summary, take.figure()
            player.marks = [list(mark) for mark in take.marks()]
            player.sound, player.keepable = take.sound, True
        player.keep = lambda: self._keep(take)

    def _show_compare(self, shown: list[Take]) -> None:
        """Which takes stand side by side, where there are more than fit."""
        self.compare.layout.display = "none" if len(self.takes) <= SHOWN else ""
        options = [[t.folder.name, f"{t.name}: {t.summary}"] for t in self.takes]
        self.compare.schema = [{"title": "Takes side by side", "help": "", "fields": [
            {"kind": "choice", "name": str(place), "label": ("Left", "Right")[place], "open": False,
             "options": options, "hint": ""} for place in range(SHOWN)
        ]}]  # fmt: skip
        self.compare.values = {str(place): t.folder.name for place, t in enumerate(shown)}

    def _compare_changed(self, name: str, value: Any) -> None:
        chosen = [take.folder.name for take in self._side_by_side()]
        place = int(name)
        if value in chosen:  # on the other side: they change places
            chosen[chosen.index(value)] = chosen[place]
        chosen[place] = value
        self.chosen = chosen
        self._show_takes()

    def _show_report(self) -> None:
        if self.kept is not None:
            self.whole.value = words.report_html(self.kept.page())

    # ------------------------------------------------------------ export

    def export_zip(self) -> None:
        """Pack the kept take and hand it to the browser's downloads."""
        take, formats = self.kept, list(self.formats.values["formats"])
        if take is None:
            return
        self.export.alarm, self.export.text = "", "Packing …"
        self.export.busy, self.export.share, self.export.enabled = True, -1.0, []
        path = self.folder / f"{take.folder.name}.zip"
        self.worker.start(
            self.worker.job(), lambda _: export(take, formats, path), self._packed, self._not_packed
        )

    def _packed(self, path: Path) -> None:
        self.export.busy, self.export.text = False, f"{path.name} is in the browser's downloads."
        self._ready()
        self._download(path.name, path)

    def _not_packed(self, why: str) -> None:
        self.export.busy, self.export.text, self.export.alarm = False, "", f"Not exported: {why}"
        self._ready()

    def _download(self, name: str, content: Content) -> None:
        self._files[f"download/{name}"] = content
        self.keeper.download = ""
        self.keeper.download = f"download/{name}"

    def _file(self, name: str) -> Content | None:
        """The file that the browser asks for by name: a take's sound, an instrument, a download."""
        if name in self._files:
            return self._files[name]
        if name.startswith("hear:"):
            try:
                return instrument_sound(name.removeprefix("hear:"))
            except (ValueError, OSError):
                return None
        return next((t.folder / "preview.mp3" for t in self.takes if t.sound == name), None)

    # ------------------------------------------------------------ course

    def _course(self, shape: str) -> tuple[Course, SamplingConfig, Path]:
        """What is asked now as a course; see `courses.Planned`."""
        return self.state.course(shape), self.state.sampling(), self.folder / "courses"

    # ------------------------------------------------------------ session log

    def _about_log(self) -> None:
        track, asked = self.opened or ("", None)
        if self.kept is not None and self.opened is None:
            track, asked = f"{self.kept.name}, which is kept", self.kept.prescription
        child = bool(self.state.person.get("child"))
        self.logbook.about(self.state.pseudonym(), child, asked, track)


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f"<h2>{escape(text)}</h2>")
