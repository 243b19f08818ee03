"""What a suggestion or a course may move in a prescription, and how far.

Only the controls listed in `adapt.toml` move, as far from the base as that file allows for the
goal. A control is measured as a *move* x: -1 and 1 are the ends of its range, 0 is the base, which
is the goal's preset or the prescription that was made of it for a listener. Energy is made of
pace, loudness, articulation and register: it follows when those move, so that the loudness stays,
and a move of energy itself is one of loudness.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from sonicrx_ml import emotion, goals
from sonicrx_ml.curve import Curve
from sonicrx_ml.notes import Floats
from sonicrx_ml.prescription import CONTROLS, Prescription


@dataclass(frozen=True, kw_only=True, slots=True)
class Knob:
    """A control that may move, how far, and why so far."""

    control: str
    by: str
    low: float
    high: float
    reason: str
    citations: tuple[str, ...]
    strength: str
    least: float = -math.inf
    most: float = math.inf
    """No move takes a value out of these, nor one of the base's that is out further away."""

    def __post_init__(self) -> None:
        if self.by not in NEUTRAL:
            raise ValueError(f"{self.control} by {self.by!r}; legal are {', '.join(NEUTRAL)}")
        if not self.low < NEUTRAL[self.by] < self.high:
            raise ValueError(
                f"{self.control} from {self.low:g} to {self.high:g}; legal is a range around "
                f"{NEUTRAL[self.by]:g}"
            )

    def moved(self, curve: Curve, x: float) -> Curve:
        """The curve at a move, -1 to 1."""
        neutral = NEUTRAL[self.by]
        amount = neutral + x * (self.high - neutral if x > 0 else neutral - self.low)
        values = ((f, v * amount if self.by == "factor" else v + amount) for f, v in curve.points)
        return Curve(tuple((fraction, round(value, 4)) for fraction, value in values))

    def move(self, base: Curve, curve: Curve) -> float:
        """The move from one curve to another, by their means; `moved` undone."""
        before, after = float(base.integral(1.0)), float(curve.integral(1.0))
        amount = after / before - 1 if self.by == "factor" else after - before
        neutral = NEUTRAL[self.by]
        return amount / (self.high - neutral if amount > 0 else neutral - self.low)

    def legal(self, base: Curve, x: float) -> bool:
        """Whether the control, and the goal, have room for this move; 0 is always legal."""
        control = CONTROLS[self.control]
        return x == 0 or all(
            control.low <= after <= control.high
            and min(self.least, before) <= after <= max(self.most, before)
            for (_, before), (_, after) in zip(base.points, self.moved(base, x).points, strict=True)
        )


NEUTRAL = {"factor": 1.0, "shift": 0.0}


def knobs(goal: str) -> tuple[Knob, ...]:
    """What may move for a goal. Raises `ValueError` that lists the legal goals."""
    goals.evidence(goal)
    return ranges()[goal]


@functools.cache
def ranges() -> Mapping[str, tuple[Knob, ...]]:
    """The ranges that ship with the package, by goal."""
    return parse(resources.files(__package__).joinpath("adapt.toml").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, tuple[Knob, ...]]:
    """Read ranges. Raises `ValueError` that names the goal, the control and what is legal."""
    table = tomllib.loads(text)["goals"]
    if set(table) != set(goals.goal_names()):
        raise ValueError(f"goals {', '.join(table)}; legal are all of {goals.goal_names()}")
    return {goal: tuple(_knob(goal, *item) for item in table[goal].items()) for goal in table}


def _knob(goal: str, control: str, entry: Mapping[str, Any]) -> Knob:
    """One range, checked against the preset, the marks and the sources of `goals.toml`."""
    where, library = f"{goal} {control}", goals.library()
    preset = goals.evidence(goal).parameter(control)
    if preset is None or not isinstance(preset.value, Curve):
        raise ValueError(f"{where}: the preset has no such curve to move")
    if entry["strength"] not in library.strengths:
        legal = ", ".join(library.strengths)
        raise ValueError(f"{where}: strength {entry['strength']!r}; legal are {legal}")
    if strange := set(entry["citations"]) - set(library.sources):
        raise ValueError(f"{where}: cites {strange}; legal are {', '.join(library.sources)}")
    if entry["strength"] != "E" and not entry["citations"]:
        raise ValueError(f"{where}: strength {entry['strength']} needs a citation; legal is E")
    if not entry["reason"]:
        raise ValueError(f"{where}: legal is a range with its reason")
    knob = Knob(control=control, **{**entry, "citations": tuple(entry["citations"])})
    if not all(knob.least <= value <= knob.most for _, value in preset.value.points):
        raise ValueError(f"{where}: the preset is not within {knob.least:g} to {knob.most:g}")
    if not (knob.legal(preset.value, -1.0) and knob.legal(preset.value, 1.0)):
        told = not (math.isinf(knob.least) and math.isinf(knob.most))
        bounds = f" and {knob.least:g} to {knob.most:g}" if told else ""
        raise ValueError(f"{where} leaves {CONTROLS[control].range}{bounds}, which is legal")
    return knob


# ---------------------------------------------------------------- moves


def moved(base: Prescription, moving: Sequence[Knob], moves: Floats) -> Prescription:
    """The base with its controls at some moves (D,)."""
    curves = {
        knob.control: knob.moved(getattr(base, knob.control), x)
        for knob, x in zip(moving, moves, strict=True)
        if x
    }
    asked = Prescription.from_dict(base.to_dict() | curves)
    carried = _carried(base, asked)
    if asked.energy is None or not carried:
        return asked
    control = CONTROLS["energy"]
    levels = ((f, np.clip(v + carried, control.low, control.high)) for f, v in asked.energy.points)
    energy = Curve(tuple((fraction, round(float(level), 4)) for fraction, level in levels))
    return Prescription.from_dict(asked.to_dict() | {"energy": energy})


def moves_between(base: Prescription, asked: Prescription, moving: Sequence[Knob]) -> Floats:
    """The moves (D,) that make a prescription of the base: `moved` undone, by the curves' means."""
    found = []
    for knob in moving:
        before, after = getattr(base, knob.control), getattr(asked, knob.control)
        if knob.control == "energy":
            carried = _carried(base, asked)
            after = Curve(tuple((f, value - carried) for f, value in after.points))
        found.append(knob.move(before, after))
    return np.array(found)


def _carried(base: Prescription, asked: Prescription) -> float:
    """The energy that moved density, articulation and register bring with them."""
    return _made(asked) - _made(base)


def _made(asked: Prescription) -> float:
    """Energy at medium loudness, from the curves' means; what is open counts as middling."""
    density, articulation, register = (
        float(curve.integral(1.0)) if curve is not None else middle
        for curve, middle in (
            (asked.density, emotion.CENTRE_ONSETS),
            (asked.articulation, 1.0),
            (asked.register, emotion.CENTRE_REGISTER),
        )
    )
    return float(emotion.energy(density, 0.0, articulation, register))
