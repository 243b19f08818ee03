"""A course: one prescription for each day of listening, planned and not yet composed.

The first day is what is prescribed. From there tempo and energy move from day to day, within the
ranges of `adapt.toml`, as far as `courses.toml` says for the goal. For a listener every track has
the same anchor. For variety every day has a seed of its own, and where nobody has named them a key
of its own (unless the mode is left open) and another of the instruments in the lead.

Every day is held to the listener's safety screen. `course_folder` makes the tracks.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np

from sonicrx_ml.anchor import Motif
from sonicrx_ml.fitting import Change, ListeningPlan, prescribe_for, screened
from sonicrx_ml.goals import evidence, goal_names, library, prescribe
from sonicrx_ml.knobs import Knob, knobs, moved
from sonicrx_ml.listener import Listener
from sonicrx_ml.motifs import composed
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.prescription import Prescription

KEYS = ("C", "G", "F", "D", "Bb", "A", "Eb", "E", "Ab", "B", "Db", "F#")
"Keys of the days where the key is open: near ones first."
BLURRED = ("pad", "choir")
"Families that do not lead where others can: a melody on them is hard to follow [E]."
STEP = 0.05  # of a move, by which one that is not legal is shortened
DAYS_PER_WEEK = 7


# ---------------------------------------------------------------- courses.toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """On which days there is a track, and how far a course has moved by then."""

    name: str
    title: str
    weeks: int
    days: tuple[int, ...]
    """Days of each week with a track, 1 to 7."""
    hold: float
    rest: float
    reason: str
    strength: str

    def __post_init__(self) -> None:
        if not 1 <= self.weeks <= 12:
            raise ValueError(f"{self.name}: weeks {self.weeks}; legal are 1 to 12")
        rising = list(self.days) == sorted(set(self.days)) and set(self.days) <= set(range(1, 8))
        if not self.days or not rising:
            raise ValueError(f"{self.name}: days {list(self.days)}; legal are rising, 1 to 7")
        if min(self.hold, self.rest) < 0 or self.hold + self.rest >= 1:
            raise ValueError(
                f"{self.name}: hold {self.hold}, rest {self.rest}; legal add up to under 1"
            )

    @property
    def numbers(self) -> tuple[int, ...]:
        """The days with a track, counted from 1 over the whole course."""
        return tuple(DAYS_PER_WEEK * week + day for week in range(self.weeks) for day in self.days)

    def progress(self, day: int) -> float:
        """Share of the course's move that is made on a day: 0 on the first, 1 at the end."""
        first, last = self.numbers[0], self.numbers[-1]
        share = (day - first) / max(last - first, 1)
        return float(np.interp(share, [0.0, self.hold, 1.0 - self.rest, 1.0], [0, 0, 1, 1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """What moves over a course for a goal, in shares of the ranges of `adapt.toml`."""

    goal: str
    moves: Mapping[str, float]
    reason: str
    strength: str

    def __post_init__(self) -> None:
        legal = [knob.control for knob in knobs(self.goal)]
        for control, move in self.moves.items():
            if control not in legal:
                raise ValueError(f"{self.goal}: {control} moves; legal are {', '.join(legal)}")
            if not -1 <= move <= 1:
                raise ValueError(f"{self.goal}: {control} moves by {move}; legal are -1 to 1")


@functools.cache
def shapes() -> Mapping[str, Shape]:
    """The shapes that ship with the package, by name."""
    return _library()[0]


def moves_for(goal: str) -> Moves:
    """What moves over a course of a goal. Raises `ValueError` that lists the legal goals."""
    evidence(goal)
    return _library()[1][goal]


@functools.cache
def _library() -> tuple[dict[str, Shape], dict[str, Moves]]:
    return parse(resources.files(__package__).joinpath("courses.toml").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[dict[str, Shape], dict[str, Moves]]:
    """Read shapes and moves. Raises `ValueError` that names the part and what is legal."""
    data = tomllib.loads(text)
    for part, tables in data.items():
        for name, table in tables.items():
            if table["strength"] not in library().strengths:
                legal = ", ".join(library().strengths)
                raise ValueError(f"{part} {name}: strength {table['strength']!r}; legal {legal}")
    if set(data["goals"]) != set(goal_names()):
        raise ValueError(f"goals {', '.join(data['goals'])}; legal are all of {goal_names()}")
    found = {
        name: Shape(name=name, **{**table, "days": tuple(table["days"])})
        for name, table in data["shapes"].items()
    }
    return found, {goal: _moves(goal, table) for goal, table in data["goals"].items()}


def _moves(goal: str, table: Mapping[str, Any]) -> Moves:
    told = {name: table[name] for name in ("reason", "strength")}
    moving = {name: value for name, value in table.items() if name not in told}
    return Moves(goal=goal, moves=moving, **told)


# ---------------------------------------------------------------- a course


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """The track of one day."""

    number: int
    """Counted from 1; days without a track count too."""
    progress: float
    """Share of the course's move that is made."""
    prescription: Prescription
    listening: ListeningPlan | None
    """As it is for the listener; None for a course without one."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"day-{self.number:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """A prescription for each day of listening."""

    shape: Shape
    goal: str
    days: tuple[Day, ...]
    moves: Mapping[str, float]
    """What moves, and how far at the end: what `courses.toml` says, or less where that is all the
    room that there is."""
    reason: str
    listener: str | None
    """The pseudonymous id."""

    @property
    def prescriptions(self) -> tuple[Prescription, ...]:
        return tuple(day.prescription for day in self.days)

    @property
    def anchor(self) -> Motif | None:
        return self.days[0].prescription.anchor

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to warn of; a listener's are those of the screen."""
        listening = self.days[0].listening
        return listening.warnings if listening else (evidence(self.goal).caution,)

    @property
    def label(self) -> str:
        """A file name: shape, goal, pseudonym, and a hash of all that is asked."""
        asked = json.dumps([day.prescription.to_dict() for day in self.days], sort_keys=True)
        whole = hashlib.sha256(f"{self.shape.name}{asked}".encode()).hexdigest()[:12]
        return "-".join(filter(None, (self.shape.name, self.goal, self.listener, whole)))


def plan(
    shape: str,
    goal: str,
    duration_s: float | None = None,
    *,
    listener: Listener | None = None,
    override: str | None = None,
    step_percent: float | None = None,
    **controls: Any,
) -> Course:
    """The prescriptions of a course.

    shape : a name of `shapes`.
    listener : to whom the goal is fitted, and whose screen every day has to pass. Every track has
        the listener's anchor, or one that is composed of the pseudonym where the profile has none
        (keep `Course.anchor` in the profile); `anchor=None` asks for none.
    override, step_percent, controls : as in `fitting.prescribe_for`; a control that is named is the
        same every day, and `seed` is that of the first day.

    Raises `ValueError` for an unknown shape, and as `prescribe_for` does.
    """
    if shape not in shapes():
        raise ValueError(f"course {shape!r}; legal are {', '.join(shapes())}")
    first = None
    if listener is not None:
        listener = with_anchor(listener)
        first = prescribe_for(
            listener, goal, duration_s, override=override, step_percent=step_percent, **controls
        )
    elif override is not None or step_percent is not None:
        raise ValueError("override and step_percent need a listener")
    base = first.prescription if first else prescribe(goal, duration_s, **controls)
    moving, wanted = moves_for(goal), shapes()[shape]
    room = _room(base, moving.moves, controls)
    led = _leads(base, listener, controls)
    days = []
    for index, number in enumerate(wanted.numbers):
        share = wanted.progress(number)
        asked = _day(base, room, share, index, led)
        listening = None
        if listener is not None and first is not None:
            listening = _fitted(first, screened(listener, asked, override=override), moving, number)
            asked = listening.prescription
        days.append(Day(number=number, progress=share, prescription=asked, listening=listening))
    return Course(
        shape=wanted,
        goal=goal,
        days=tuple(days),
        moves={knob.control: x for knob, x in room.items()},
        reason=moving.reason,
        listener=listener.id if listener else None,
    )


def with_anchor(listener: Listener) -> Listener:
    """The listener, with a motif that is composed of the pseudonym where the profile has none."""
    if listener.anchor is not None:
        return listener
    seed = int.from_bytes(hashlib.sha256(listener.id.encode()).digest()[:4])
    return replace(listener, anchor=composed(seed))


def _room(
    base: Prescription, wanted: Mapping[str, float], given: Collection[str]
) -> dict[Knob, float]:
    """How far each control may move: as far as is wanted, or as far as is legal."""
    found = {}
    for knob in knobs(str(base.goal)):
        curve = getattr(base, knob.control)
        if knob.control not in wanted or knob.control in given or curve is None:
            continue
        x = wanted[knob.control]
        while x and not knob.legal(curve, x):
            x = float(np.sign(x) * max(abs(x) - STEP, 0.0))
        found[knob] = x
    return found


def _leads(
    base: Prescription, listener: Listener | None, given: Collection[str]
) -> tuple[str, ...]:
    """Instruments that lead in turn: none where somebody has chosen who leads."""
    if base.instruments is None or "instruments" in given or (listener and listener.likes):
        return ()
    clear = [name for name in base.instruments if PALETTE[name][1] not in BLURRED]
    return tuple(clear)


def _day(
    base: Prescription, room: Mapping[Knob, float], share: float, index: int, led: tuple[str, ...]
) -> Prescription:
    """The prescription of one day, before the screen."""
    asked = moved(base, tuple(room), np.array([x * share for x in room.values()]))
    varied: dict[str, Any] = {"seed": (base.seed + index) % 2**31}
    if base.key is None and base.mode is not None:  # a key would close a mode that is left open
        varied["key"] = KEYS[index % len(KEYS)]
    if led and base.instruments:
        lead = led[index % len(led)]
        varied["instruments"] = (lead, *(name for name in base.instruments if name != lead))
    return replace(asked, **varied)


def _fitted(first: ListeningPlan, today: ListeningPlan, moving: Moves, day: int) -> ListeningPlan:
    """A day's plan: what was changed for the listener, by the course, by the day's screen."""
    before, after = first.prescription, today.prescription
    reason = f"day {day} of the course: {moving.reason}"
    steps = tuple(
        Change(
            control=name,
            before=getattr(before, name),
            after=getattr(after, name),
            reason=reason,
            strength=moving.strength,
            general=f"day {day} of the course",
        )
        for name in moving.moves
        if getattr(before, name) != getattr(after, name)
    )
    return replace(today, changes=(*first.changes, *steps, *today.changes))
