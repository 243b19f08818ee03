"""From what a person gives, controls and files, to what is asked: for scripts and pages alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonicrx_ml import course, motifs
from sonicrx_ml.course import Course
from sonicrx_ml.fitting import OWN, ListeningPlan, prescribe_for, screened
from sonicrx_ml.goals import prescribe
from sonicrx_ml.listener import Listener
from sonicrx_ml.prescription import Prescription


def controls(given: Mapping[str, Any]) -> dict[str, Any]:
    """Controls that were given; an anchor is read from its file, or is "none" for none at all."""
    values = {name: value for name, value in given.items() if value is not None}
    match values.get("anchor"):
        case "none":
            values["anchor"] = None
        case str(path):
            values["anchor"] = motifs.load(path).to_dict()
    return values


def read(path: Path | str) -> Prescription:
    """A prescription from its file. Raises `ValueError` that names the file, and `OSError`."""
    try:
        return Prescription.from_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def for_listener(
    who: Listener,
    given: Mapping[str, Any],
    start: Prescription | None = None,
    *,
    override: str | None = None,
    step_percent: float | None = None,
) -> ListeningPlan:
    """What is asked for a listener: a goal fitted to the person, or a prescription past the screen.

    start : a prescription; the controls given replace its own, and the listener's anchor returns
        where it has none. Raises as `prescribe_for` does.
    """
    if start is not None:
        if step_percent is not None:
            raise ValueError("step_percent goes with a goal; legal is to leave out prescription")
        own = given.get("breaths_per_min") == OWN
        rest = {name: v for name, v in given.items() if not (own and name == "breaths_per_min")}
        return screened(
            who, _with(start, rest), override=override, anchored="anchor" not in given,
            own_breaths=own,
        )  # fmt: skip
    if "goal" not in given:
        raise ValueError("a listener needs a goal; legal is goal=NAME, or prescription=FILE")
    return prescribe_for(who, override=override, step_percent=step_percent, **given)


def for_anyone(given: Mapping[str, Any], start: Prescription | None = None) -> Prescription:
    """What is asked where no listener is known. Raises `ValueError` as `Prescription` does."""
    if given.get("breaths_per_min") == OWN:
        raise ValueError(f"breaths_per_min={OWN} is of a person; legal is with listener=FILE")
    if start is not None:
        return _with(start, given)
    return prescribe(**given) if "goal" in given else Prescription.from_dict(given)


def takes(first: Prescription, n: int) -> list[Prescription]:
    """The same `n` times, with seeds counted up. Raises `ValueError` for n below 1."""
    if n < 1:
        raise ValueError(f"n={n}; legal are 1 and more")
    return [replace(first, seed=first.seed + i) for i in range(n)]


def a_course(
    shape: str,
    who: Listener | None,
    given: Mapping[str, Any],
    *,
    override: str | None = None,
    step_percent: float | None = None,
) -> Course:
    """The course of a goal. Raises as `course.plan` does, and where no goal is given."""
    if "goal" not in given:
        raise ValueError(f"course {shape!r} needs a goal; legal is goal=NAME")
    return course.plan(shape, listener=who, override=override, step_percent=step_percent, **given)


def _with(start: Prescription, given: Mapping[str, Any]) -> Prescription:
    return Prescription.from_dict(start.to_dict() | dict(given))
