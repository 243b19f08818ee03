"""A course as a folder: composed in batches, day by day, and gone on with where it was stopped.

    <out>/<Course.label>/
        calendar.html    one printable page: what is on which day, and how it was made
        course.json      the prescriptions of all days
        anchor.motif.json    the anchor, as `motifs.load` reads it
        day-01/ ...      a track folder each, as `compose.Track.save` leaves it

A day whose folder has what is asked, made by the same weights, sampling and version, is not made
again, whatever its sound font. A day's notes are the same whatever else is in its batch, so a
course that was stopped ends as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from sonicrx_ml import __version__, course_page
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import check, compose, produce
from sonicrx_ml.course import Course, Day
from sonicrx_ml.notes import read_midi
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report

BATCH = 7  # tracks composed side by side at most: a week of days
TOGETHER_S = 1800.0  # of music composed side by side: what a stop may cost


@dataclass(frozen=True, slots=True)
class Made:
    """A day whose track is there."""

    day: Day
    folder: Path
    report: Report
    fresh: bool
    """Made by this call, not found."""


def make(
    course: Course,
    bundle: Bundle,
    out: Path,
    sampling: SamplingConfig | None = None,
    engine: str = "auto",
    font: Path | None = None,
    *,
    batch: int | None = None,
    starts: date | None = None,
) -> Generator[Made, None, None]:
    """Make what is missing of a course; each day as it is there, those found first.

    batch : tracks composed side by side; open, as many as are `TOGETHER_S` long together, a week
        at most.
    starts : date of the first day, for the calendar; without one it counts days.

    The calendar is written anew with every track. Raises as `compose.check` does, before anything
    is composed, and `ValueError` for a batch below 1.
    """
    if batch is None:
        longest = max(day.prescription.duration_s for day in course.days)
        batch = min(BATCH, max(1, int(TOGETHER_S / longest)))
    if batch < 1:
        raise ValueError(f"batch {batch}; legal are 1 and more")
    folder, sampling = out / course.label, sampling or SamplingConfig()
    check(folder, engine, font)
    _write_plan(folder, course)
    kept = {}
    for day in course.days:
        if found := _found(folder / day.name, day, bundle, sampling):
            kept[day.number] = found
            yield found
    missing = [day for day in course.days if day.number not in kept]
    for first in range(0, len(missing), batch):
        days = missing[first : first + batch]
        compositions = compose([day.prescription for day in days], bundle, sampling)
        for day, composition in zip(days, compositions, strict=True):
            track = produce(composition, bundle, sampling, engine, font)
            track = track.in_course(course.shape.name, day.number, course.days[-1].number)
            if day.listening:
                track = track.made_for(day.listening)
            made = Made(day, track.save(folder / day.name), track.report, True)
            kept[day.number] = made
            write_calendar(folder, course, list(kept.values()), starts)
            yield made
    write_calendar(folder, course, list(kept.values()), starts)


def _write_plan(folder: Path, course: Course) -> None:
    days = [
        {"day": day.number, "folder": day.name, "prescription": day.prescription.to_dict()}
        for day in course.days
    ]
    about = {"course": course.shape.name, "goal": course.goal, "listener": course.listener}
    _replace(folder / "course.json", json.dumps(about | {"days": days}, indent=1) + "\n")
    if course.anchor:
        _replace(folder / "anchor.motif.json", course.anchor.to_json() + "\n")


def _found(folder: Path, day: Day, bundle: Bundle, sampling: SamplingConfig) -> Made | None:
    """The day's track, where it is there as it would be made now."""
    try:
        asked = (folder / "prescription.json").read_text(encoding="utf-8")
        manifest = json.loads((folder / "manifest.json").read_bytes())
        report = Report.from_json((folder / "report.json").read_bytes())
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not a track's
        return None
    wanted = {
        "checkpoint_sha256": bundle.sha256,
        "sampling": json.loads(json.dumps(asdict(sampling))),
        "listener": day.listening and day.listening.record(),
    }
    same = all(manifest.get(name) == value for name, value in wanted.items())
    same = same and manifest["versions"]["sonicrx_ml"] == __version__
    if not same or asked.strip() != day.prescription.to_json():
        return None
    return Made(day, folder, report, False)


def write_calendar(
    folder: Path, course: Course, made: Sequence[Made], starts: date | None = None
) -> Path:
    """The printable page of a course, with what there is of it so far."""
    from sonicrx_ml import variety  # imports `datasets`, which takes seconds

    tracks = {
        m.day.number: (m.day.prescription, read_midi(m.folder / "track.mid"))
        for m in sorted(made, key=lambda m: m.day.number)
    }
    reports = {m.day.number: m.report for m in made}
    page = course_page.page(course, reports, variety.most_alike(tracks), starts)
    return _replace(folder / "calendar.html", page)


def _replace(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)
