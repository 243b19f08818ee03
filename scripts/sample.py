"""Compose: `python scripts/sample.py goal=anxiety duration_s=120 key=D tempo=[84,60] n=2`.

For a person: `listener=P07.json`. A track for each day: `course=two_weeks goal=... listener=...`.
On to a file: `given=theirs.mid duration_s=60` continues it, `given=theirs.mid 'fill=[9,16]'`
composes bars anew.
"""

from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from sonicrx_ml import (
    asking,
    checkpoint,
    course_folder,
    given,
    motifs,
    prompted,
    prompting,
    report,
)
from sonicrx_ml.compose import check, compose, produce
from sonicrx_ml.config import SampleConfig, entry
from sonicrx_ml.course import Course
from sonicrx_ml.fitting import ListeningPlan, label, refuse_given
from sonicrx_ml.listener import Listener
from sonicrx_ml.prescription import CONTROLS, Prescription

ROOMY_S = 600.0  # a length that suits every goal; filled bars are then as long as they are


@entry("sample", SampleConfig)
def main(cfg: SampleConfig) -> None:
    who = motifs.profile(cfg.listener) if cfg.listener else None
    if who is None and (cfg.override is not None or cfg.step_percent is not None):
        raise ValueError("override and step_percent need a listener; legal is listener=FILE")
    if cfg.course:
        make_course(cfg, who)
    elif cfg.given:
        compose_on(cfg, who)
    else:
        make_tracks(cfg, who)


def make_tracks(cfg: SampleConfig, who: Listener | None) -> None:
    """The takes of one prescription, composed side by side."""
    plan, prescriptions = takes(cfg, who)
    out, font = Path(cfg.out), Path(cfg.font) if cfg.font else None
    bundle = checkpoint.load(cfg.checkpoint)
    check(out, cfg.engine, font)
    if plan:
        print(plan.summary())
    console = Console()
    with console.status(f"composing {cfg.n} x {prescriptions[0].duration_s:g} s"):
        compositions = compose(prescriptions, bundle, cfg.sampling)
    for composition in compositions:
        if cfg.n > 1:
            print(f"seed {composition.prescription.seed}:")
        with console.status("rendering and judging"):
            track = produce(
                composition, bundle, cfg.sampling, cfg.engine, font, cfg.psychoacoustics
            )
            track = track.made_for(plan) if plan else track
            folder = track.save(out / label(composition.prescription, plan))
        print(report.summary(track.report))
        print(f"track: {folder}")


def takes(
    cfg: SampleConfig, who: Listener | None
) -> tuple[ListeningPlan | None, list[Prescription]]:
    """The prescription asked for, once per take, and as it is for the listener."""
    asked, start = controls(cfg), asking.read(cfg.prescription) if cfg.prescription else None
    plan = None
    if who:
        plan = asking.for_listener(
            who, asked, start, override=cfg.override, step_percent=cfg.step_percent
        )
    first = plan.prescription if plan else asking.for_anyone(asked, start)
    return plan, asking.takes(first, cfg.n)


def controls(cfg: SampleConfig) -> dict[str, Any]:
    return asking.controls({name: getattr(cfg, name) for name in CONTROLS})


def compose_on(cfg: SampleConfig, who: Listener | None) -> None:
    """Continue the given file, or fill bars of it."""
    source, out = given.read(cfg.given or ""), Path(cfg.out)
    first, last = cfg.fill or (0, 0)
    if cfg.fill:
        cfg.duration_s = max(given.seconds_of(source, first, last), ROOMY_S)
    font = Path(cfg.font) if cfg.font else None
    plan, prescriptions = takes(cfg, who)
    if who:
        refuse_given(who, str(prescriptions[0].goal), source.programs)
    bundle = checkpoint.load(cfg.checkpoint)
    check(out, cfg.engine, font)
    if plan:
        print(plan.summary())
    for asked in prescriptions:
        if cfg.fill:
            made = prompting.filled(source, first, last, asked, bundle, cfg.sampling)
        else:
            made = prompting.continued(source, asked, bundle, cfg.sampling)
        folder = out / prompted.label(made, source, plan)
        found = prompted.save(made, source, bundle, cfg.sampling, folder, cfg.engine, font, plan)
        print(prompted.summary(made, source, found))
        print(f"track: {folder}")


def make_course(cfg: SampleConfig, who: Listener | None) -> None:
    """A track for each day, in batches; days that are there are not made again."""
    if cfg.prescription or cfg.n != 1:
        raise ValueError("a course has a track a day from a goal; legal is no prescription, n=1")
    course = asking.a_course(
        cfg.course, who, controls(cfg), override=cfg.override, step_percent=cfg.step_percent
    )
    starts = first_day(cfg.starts) if cfg.starts else None
    out, font = Path(cfg.out), Path(cfg.font) if cfg.font else None
    bundle = checkpoint.load(cfg.checkpoint)
    print(introduction(course, who))
    for made in course_folder.make(
        course, bundle, out, cfg.sampling, cfg.engine, font, batch=cfg.batch, starts=starts
    ):
        done = "made" if made.fresh else "was there"
        print(f"{made.folder}: {done}, {report.met(made.report)}", flush=True)
    print(f"calendar: {out / course.label / 'calendar.html'}")


def first_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"starts={text}; legal is a day as 2026-12-01") from None


def introduction(course: Course, who: Listener | None) -> str:
    lines = [f"{course.shape.title}: {len(course.days)} tracks; {course.reason}"]
    if first := course.days[0].listening:
        lines.append(first.summary())
    if who and who.anchor is None and course.anchor:
        lines.append("  the profile has no anchor: keep anchor.motif.json of the folder in it")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
