"""The next prescription, suggested from a listener's journal; a person decides.

Only the controls listed in `adapt.toml` move, as far from the preset as that file allows for the
goal. A control is measured as a *move* x: -1 and 1 are the ends of its range, 0 is the base, which
is the goal's preset or the prescription that was made of it for this listener. Energy is made of
pace, loudness, articulation and register: it follows when those move, so that the loudness stays,
and a move of energy itself is one of loudness.

A session's *outcome* is in points: 80 times the relief plus 20 times the share heard. Relief is the
fall in SUDS and in VAS, each as a share of its scale, averaged over those that were recorded (1 is
from the worst to the best, below 0 is worse than before). The share heard is the minutes heard over
those prescribed, at most 1; who fell asleep to a sleep track heard all of it, and an interruption
or a technical failure is not held against the music, so there the relief alone counts. A session
without ratings teaches nothing and is left out; the words count it. The weights are a choice [E].
Falls depend on how bad it was before, which is not corrected for.

The model is a Gaussian process over the moves (scikit-learn; Rasmussen & Williams 2006) around a
bowl that is highest at the base, since that is where the evidence is. The *next to try* is the
highest of mean plus `CURIOSITY` standard deviations, the *one to keep* of mean less `-CAUTION` of
them; neither goes far from what has gone best. The scales are fixed: eight sessions are too few to
estimate them. They were chosen on other simulated listeners than those of `benchmarks/adapt.md`,
drawn from the same kinds [E].
"""

from __future__ import annotations

import functools
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from sonicrx_ml import emotion, goals
from sonicrx_ml.curve import Curve
from sonicrx_ml.journal import Journal
from sonicrx_ml.notes import Floats
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.session import Decision, Session

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

RELIEF_POINTS, HEARD_POINTS = 80.0, 20.0
SCALES = {"suds": 10.0, "vas": 100.0}
NOT_THE_MUSIC = ("interrupted", "technical")

SPREAD = 12.0  # points: how much the prescription matters, one standard deviation [E]
NOISE = 12.0  # points: how much one session differs from the next, all else equal [E]
LEVEL, LEVEL_SPREAD = 25.0, 30.0  # points: what to expect of anyone, and how surely [E]
LENGTH = 1.5  # moves over which outcomes stay alike [E]
BOWL = 5.0  # points that the ends of all ranges are expected to lie below the base [E]
STEP, REACH = 0.25, 0.5  # of the moves that are considered, and how far they go at a time [E]
SIMPLICITY = 0.1  # points that a control must be worth to be moved at all [E]
CURIOSITY, CAUTION = 1.5, -1.0
Z95 = 1.96


# ---------------------------------------------------------------- ranges


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
        control = CONTROLS[self.control]
        return all(control.low <= value <= control.high for _, value in self.moved(base, x).points)


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
    if not (knob.legal(preset.value, -1.0) and knob.legal(preset.value, 1.0)):
        raise ValueError(f"{where} leaves {CONTROLS[control].range}, which is legal")
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


# ---------------------------------------------------------------- outcomes


def outcome(session: Session) -> float | None:
    """How a session went, in points (see the module); None where nothing was rated."""
    falls = [
        (before - getattr(session, f"{scale}_after")) / size
        for scale, size in SCALES.items()
        if (before := getattr(session, f"{scale}_before")) is not None
    ]
    if not falls:
        return None
    relief = sum(falls) / len(falls)
    heard = _heard(session)
    if heard is None:
        return (RELIEF_POINTS + HEARD_POINTS) * relief
    return RELIEF_POINTS * relief + HEARD_POINTS * heard


def _heard(session: Session) -> float | None:
    asked = session.prescription
    if session.stopped in NOT_THE_MUSIC:
        return None
    if session.stopped == "asleep" and asked.goal == "sleep":
        return 1.0
    return min(1.0, 60 * session.minutes / asked.music_s)


# ---------------------------------------------------------------- the suggestion


@dataclass(frozen=True, slots=True)
class Expected:
    """A figure in points with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, deviation: float) -> Expected:
        return cls(float(value), float(value - Z95 * deviation), float(value + Z95 * deviation))

    def __str__(self) -> str:
        return f"{round(self.value)} points (95 %: {round(self.low)} to {round(self.high)})"


@dataclass(frozen=True, slots=True)
class Move:
    """One control that a suggestion moves, and what that alone is expected to do."""

    knob: Knob
    x: float
    before: Curve
    after: Curve
    gain: Expected

    @property
    def words(self) -> str:
        way = "higher" if self.x > 0 else "lower"
        unit = CONTROLS[self.knob.control].unit
        change = f"{_told(self.before)} to {_told(self.after)} {unit}".rstrip()
        name = "loudness" if self.knob.control == "energy" else self.knob.control
        change = f"energy {change}" if name == "loudness" else change
        return f"{name} {way}, {change}: {self._why}; alone it would gain {self.gain}"

    @property
    def _why(self) -> str:
        if self.gain.low > 0:
            return "the sessions speak for it"
        if self.gain.value > 0:
            return "the sessions lean towards it, too few to be sure"
        return "it is moved to learn, the sessions do not speak for it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What might be prescribed next. It is nothing until a person accepts it."""

    listener: str
    base: Prescription
    proposed: Prescription
    moves: tuple[Move, ...]
    expected: Expected
    "The outcome of the next session, if this is prescribed."
    expected_of_base: Expected
    gain: Expected
    "By how much the outcome would be better than the base's, over many sessions."
    better: float
    "Probability that it is better than the base at all."
    used: int
    left_out: int

    @property
    def words(self) -> str:
        """The suggestion for a reader: what moves, why, how sure."""
        if not self.used:
            return "No session has taught anything yet: begin with the base."
        about = f"From {self.used} rated sessions of {self.listener}, goal {self.base.goal}"
        about += f" ({self.left_out} others left out)." if self.left_out else "."
        if not self.moves:
            return f"{about} Stay with the base: expected {self.expected}."
        return "\n".join(
            [
                f"{about} Moved from the base:",
                *(f"- {move.words}" for move in self.moves),
                f"Expected of a session {self.expected}; of the base {self.expected_of_base}.",
                f"Gain over the base {self.gain}; it is better with probability {self.better:.2f}.",
                "A point of SUDS is worth 8 points, 4 beside a VAS. All ranges are engineering "
                "defaults [E]. Nothing changes until a person accepts.",
            ]
        )

    def accept(self, journal: Journal, *, by: str) -> Prescription:
        """Write down who accepted, and give the prescription out."""
        self._decide(journal, by, "accepted")
        return self.proposed

    def decline(self, journal: Journal, *, by: str) -> Prescription:
        """Write down who declined; the base stays."""
        self._decide(journal, by, "declined")
        return self.base

    def _decide(self, journal: Journal, by: str, decision: str) -> None:
        journal.decide(
            Decision(
                listener=self.listener,
                by=by,
                decision=decision,
                base=self.base,
                proposed=self.proposed,
                words=self.words,
            )
        )


def _told(curve: Curve) -> str:
    """The levels of a curve, in their order."""
    return "-".join(f"{level:.3g}" for level, _ in itertools.groupby(v for _, v in curve.points))


def suggest(
    listener: str, sessions: Sequence[Session], base: Prescription, curiosity: float = CURIOSITY
) -> Suggestion:
    """What to try next (`CURIOSITY`), or what to keep (`CAUTION`), after these sessions.

    base: the prescription for this listener before anything was learned; its goal names the ranges,
    and curves it leaves open are not moved. Sessions for another goal, without ratings, or with one
    of the moving controls left open are left out. Raises `ValueError` for a session of another
    listener and a base without a goal.
    """
    if strange := {s.listener for s in sessions} - {listener}:
        raise ValueError(f"sessions of {', '.join(sorted(strange))}; legal are those of {listener}")
    if base.goal is None:
        raise ValueError(f"goal None; legal are {', '.join(goals.goal_names())}")
    moving = tuple(k for k in knobs(base.goal) if getattr(base, k.control) is not None)
    if not moving:
        raise ValueError(f"nothing may move; legal is to set {', '.join(CONTROLS)} as a curve")
    tried, outcomes = _learned(sessions, base, moving)
    chosen = np.zeros(len(moving))
    model = _fitted(tried, outcomes)
    if len(outcomes):
        chosen = _choose(model, tried, _levels(base, moving), curiosity)
    return _suggestion(listener, base, moving, chosen, model, len(sessions), len(outcomes))


def _learned(
    sessions: Sequence[Session], base: Prescription, moving: Sequence[Knob]
) -> tuple[Floats, Floats]:
    """Moves (N, D) and outcomes (N,) of the sessions that teach something."""
    rows, outcomes = [], []
    for session in sessions:
        asked, points = session.prescription, outcome(session)
        curves = [getattr(asked, knob.control) for knob in moving]
        if asked.goal == base.goal and points is not None and None not in curves:
            rows.append(moves_between(base, asked, moving))
            outcomes.append(points)
    return np.array(rows).reshape(-1, len(moving)), np.array(outcomes)


def _levels(base: Prescription, moving: Sequence[Knob]) -> list[Floats]:
    """The moves of each control that this base has room for."""
    steps = np.arange(-1.0, 1.0 + STEP / 2, STEP)
    return [
        np.array([x for x in steps if knob.legal(getattr(base, knob.control), x)])
        for knob in moving
    ]


def _choose(
    model: GaussianProcessRegressor, tried: Floats, levels: Sequence[Floats], curiosity: float
) -> Floats:
    """The most promising moves (D,) within reach of what has gone best; fewer where it is equal."""
    known = np.vstack([np.zeros(len(levels)), np.clip(tried, -1, 1)])
    centre = known[_expect(model, known)[0].argmax()]
    near = [x[np.abs(x - at) <= REACH + 1e-9] for x, at in zip(levels, centre, strict=True)]
    grid = np.array([*itertools.product(*near), np.zeros(len(levels))])
    mean, deviation = _expect(model, grid)
    cost = SIMPLICITY * (grid != 0).sum(axis=1)
    return np.asarray(grid[(mean + curiosity * deviation - cost).argmax()])


# ---------------------------------------------------------------- the model


def _fitted(moves: Floats, outcomes: Floats) -> GaussianProcessRegressor:
    """What moves (N, D) do to outcomes (N,), by the fixed scales of this module."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    level = ConstantKernel(LEVEL_SPREAD**2, "fixed")
    taste = ConstantKernel(SPREAD**2, "fixed") * RBF(LENGTH, "fixed")
    model = GaussianProcessRegressor(level + taste, alpha=NOISE**2, optimizer=None)
    return model.fit(moves, outcomes - _prior(moves)) if len(outcomes) else model


def _prior(moves: Floats) -> Floats:
    return LEVEL - BOWL * (moves**2).mean(axis=1)


def _expect(model: GaussianProcessRegressor, moves: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the outcome (without a session's noise) at moves (N, D)."""
    mean, deviation = model.predict(moves, return_std=True)
    return mean + _prior(moves), deviation


def _gains(model: GaussianProcessRegressor, moves: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each outcome less that of the base."""
    both = np.vstack([np.zeros(moves.shape[1]), moves])
    mean, covariance = model.predict(both, return_cov=True)
    mean = mean + _prior(both)
    variance = np.diag(covariance) + covariance[0, 0] - 2 * covariance[0]
    return (mean - mean[0])[1:], np.sqrt(np.maximum(variance, 0.0))[1:]


def _suggestion(
    listener: str,
    base: Prescription,
    moving: Sequence[Knob],
    chosen: Floats,
    model: GaussianProcessRegressor,
    given: int,
    used: int,
) -> Suggestion:
    proposed = moved(base, moving, chosen)
    alone = np.vstack([chosen, np.diag(chosen)])
    gains, deviations = _gains(model, alone)
    (mean, of_base), (deviation, of_base_deviation) = _expect(
        model, np.vstack([chosen, np.zeros(len(chosen))])
    )
    moves = tuple(
        Move(
            k,
            float(x),
            getattr(base, k.control),
            getattr(proposed, k.control),
            Expected.of(gain, deviation),
        )
        for k, x, gain, deviation in zip(moving, chosen, gains[1:], deviations[1:], strict=True)
        if x
    )
    return Suggestion(
        listener=listener,
        base=base,
        proposed=proposed,
        moves=moves,
        expected=Expected.of(mean, np.hypot(deviation, NOISE)),
        expected_of_base=Expected.of(of_base, np.hypot(of_base_deviation, NOISE)),
        gain=Expected.of(gains[0], deviations[0]),
        better=_above_zero(gains[0], deviations[0]),
        used=used,
        left_out=given - used,
    )


def _above_zero(mean: float, deviation: float) -> float:
    """Probability that a normal figure is above 0; even where there is no difference."""
    return float(ndtr(mean / deviation)) if deviation > 0 else 0.5


__all__ = [
    "CAUTION",
    "CURIOSITY",
    "Expected",
    "Knob",
    "Move",
    "Suggestion",
    "knobs",
    "moved",
    "moves_between",
    "outcome",
    "parse",
    "ranges",
    "suggest",
]
