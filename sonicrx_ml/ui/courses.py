"""A course on the page: what is asked, for every day of listening; made in the background.

Planning and making are `course` and `course_folder`; one that was stopped goes on.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from sonicrx_ml import course_folder, drawing
from sonicrx_ml.audio import Sound, load, read_tags
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.course import Course, shapes
from sonicrx_ml.course_folder import Made
from sonicrx_ml.notes import read_midi
from sonicrx_ml.page import table
from sonicrx_ml.plan import plan
from sonicrx_ml.report import met
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.ui.jobs import Job, Worker
from sonicrx_ml.ui.takes import encoded, marks
from sonicrx_ml.ui.widgets import Actions, Content, Form, Player
from sonicrx_ml.ui.words import describe, refusal_html

Planned = Callable[[str], tuple[Course, SamplingConfig, Path]]
"""Of a shape: the course of what is asked now, how it is sampled, and the folder of courses."""


class CoursePanel(widgets.VBox):
    """Shape, calendar, a player for every day that is made, one zip.

    planned : see `Planned`; raises `ValueError`.
    download : hands a file to the browser by name.
    """

    def __init__(
        self,
        worker: Worker,
        bundle: Callable[[], Bundle],
        planned: Planned,
        download: Callable[[str, Content], None],
    ) -> None:
        self.worker, self.bundle, self.planned, self.download = worker, bundle, planned, download
        self.job: Job | None = None
        self.course: Course | None = None
        self.made: dict[int, Made] = {}
        self.folder: Path | None = None
        self.starts: date | None = None
        self.values: dict[str, Any] = {"shape": next(iter(shapes())), "starts": None}
        self.form = Form([{"title": "", "help": "The first day is what is asked above.", "fields": [
            {"kind": "choice", "name": "shape", "label": "Course", "hint": "", "open": False,
             "options": [(name, shape.title) for name, shape in shapes().items()]},
            {"kind": "text", "name": "starts", "label": "First day", "placeholder": "2026-12-01",
             "hint": "A date, for the calendar; without one it counts days."},
        ]}])  # fmt: skip
        self.actions = Actions(
            [("plan", "Plan the days", ""), ("make", "Make the course", "primary"),
             ("cancel", "Cancel", ""), ("export", "Export the course as one zip", "")], guard=True,
        )  # fmt: skip
        self.actions.on = {"plan": self.plan, "make": self.make, "cancel": self.cancel,
                           "export": self.export}  # fmt: skip
        self.calendar = widgets.HTML()
        self.day = Form([])
        self.player = Player(self._sound)
        self.form.changed = self._changed
        self.day.changed = lambda name, value: self._show_day(int(value))
        super().__init__([self.form, self.actions, self.calendar, self.day, self.player])
        self._ready()

    # ------------------------------------------------------------ what is planned

    def _changed(self, name: str, value: Any) -> None:
        self.values[name] = value
        if self.job is not None:
            return  # what is being made goes on; what was entered counts for the next course
        self.course, self.made, self.calendar.value = None, {}, ""
        self._ready()

    def plan(self) -> bool:
        """Plan the days of what is asked now, and show them; whether that is possible."""
        try:
            self.starts = self._starts()
            self.course, _, out = self.planned(self.values["shape"])
        except ValueError as error:
            self.calendar.value = refusal_html(str(error))
            return False
        if out / self.course.label != self.folder:
            self.folder, self.made = out / self.course.label, {}
        self._show()
        return True

    def _starts(self) -> date | None:
        given = self.values["starts"]
        return date.fromisoformat(given) if given else None

    def _show(self) -> None:
        """The days in a table, with what is made of them, and a player."""
        assert self.course is not None
        rows = []
        for day in self.course.days:
            found = self.made.get(day.number)
            done = f"✓ made, {met(found.report)}" if found else "planned"
            rows.append(
                f"<tr><th scope='row'>{_named(day.number, self.starts)}</th>"
                f"<td>{escape(describe(day.prescription))}</td><td>{escape(done)}</td></tr>"
            )
        self.calendar.value = table(("day", "asked", "track"), rows)
        options = [(str(number), f"day {number}") for number in sorted(self.made)]
        self.day.schema = [{"title": "", "help": "", "fields": [
            {"kind": "choice", "name": "day", "label": "Listen to", "open": False, "hint": "",
             "options": options}]}] if options else []  # fmt: skip
        self._ready()

    def _ready(self) -> None:
        busy, whole = self.job is not None, self.course is not None and bool(self.made)
        self.form.values = dict(self.values)
        self.actions.busy = busy
        self.actions.enabled = ["cancel"] if busy else ["plan", "make", *["export"] * whole]
        self.day.layout.display = self.player.layout.display = "" if self.made else "none"

    # ------------------------------------------------------------ made

    def make(self) -> None:
        """Make what is missing of the course, in the worker's thread."""
        if self.job is not None or not self.plan():
            return
        course, sampling, out = self.planned(self.values["shape"])
        starts = self.starts
        self.actions.alarm, self.actions.text, self.actions.share = "", "Getting ready …", 0.0
        self.job = self.worker.job(self._stepped)
        self._ready()
        self.worker.start(
            self.job, lambda job: self._work(job, course, sampling, out, starts), self._done,
            self._failed,
        )  # fmt: skip

    def _work(
        self, job: Job, course: Course, sampling: SamplingConfig, out: Path, starts: date | None
    ) -> None:
        days = course_folder.make(course, self.bundle(), out, sampling, batch=1, starts=starts)
        with closing(days):
            for count, made in enumerate(days, 1):
                job.tell(lambda made=made: self._made(made))  # type: ignore[misc]
                job.step(count / len(course.days), f"day {count} of {len(course.days)} is made")

    def _stepped(self, share: float, text: str) -> None:
        self.actions.share, self.actions.text = share, text

    def _made(self, made: Made) -> None:
        self.made[made.day.number] = made
        self._show()
        if len(self.made) == 1:
            self._show_day(made.day.number)

    def _done(self, _: None) -> None:
        self.job = None
        self.actions.text = "The course is made, checked and saved."
        self._show()

    def _failed(self, why: str) -> None:
        self.job, self.actions.text = None, ""
        self.actions.alarm = f"Not made: {why}"
        self._ready()

    def cancel(self) -> None:
        """Stop; the days that are made stay, and making goes on with the others."""
        if self.job is not None:
            self.job.cancel()
            self.job = None
            self.actions.text = "Stopped; the days that are made stay."
            self._ready()

    # ------------------------------------------------------------ heard and exported

    def _show_day(self, number: int) -> None:
        made = self.made[number]
        notes = read_midi(made.folder / "track.mid")
        asked = made.day.prescription
        with self.player.hold_sync():
            self.player.name, self.player.summary = f"Day {number}", f"{met(made.report)}."
            self.player.figure = drawing.figures(made.report, notes)[0]
            self.player.marks = [list(mark) for mark in marks(asked, plan(asked))]
            self.player.sound = f"day/{number}/{asked.id}.mp3"
        self.day.values = {"day": str(number)}

    def _sound(self, name: str) -> Content | None:
        """The sound of a day, encoded when it is first asked for."""
        number = int(name.split("/")[1])
        if number not in self.made:
            return None
        folder = self.made[number].folder
        kept = folder.parent / f".{folder.name}.mp3"
        if not kept.is_file() or kept.stat().st_mtime < (folder / "track.flac").stat().st_mtime:
            kept.write_bytes(as_mp3(folder / "track.flac"))
        return kept

    def export(self) -> None:
        """All days, the calendar and the anchor in one zip."""
        folder = self.folder
        if folder is None:
            return
        path = folder.parent / f"{folder.name}.zip"
        self.actions.text = "Packing …"
        self.worker.start(self.worker.job(), lambda _: pack(folder, path), self._packed,
                          self._failed)  # fmt: skip

    def _packed(self, path: Path) -> None:
        self.actions.text = f"{path.name} is in the browser's downloads."
        self.download(path.name, path)


def _named(number: int, starts: date | None) -> str:
    """A day of a course by its number, and by its date where the first one is known."""
    on = f" <span class='day'>{starts + timedelta(number - 1):%a %Y-%m-%d}</span>" if starts else ""
    return f"<span class='day'>day {number}</span>{on}"


def as_mp3(flac: Path) -> bytes:
    """A sound file as MP3."""
    samples, rate = load(flac)
    tags = read_tags(flac)
    made_by = {name: tags[name] for name in ("engine", "font", "font_sha256")}
    return encoded(Sound(samples, rate, **made_by), ".mp3")


def pack(folder: Path, path: Path) -> Path:
    """A course's folder as a zip, written to another name first."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
