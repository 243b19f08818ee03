"""The next prescription, suggested from a listener's journal; a person decides.

What may move, and how far, is `knobs`' part; what is shown of a suggestion is `suggestion`'s.
`suggest_for` starts from what the listener's profile makes of the goal, and what it suggests has
passed the listener's screen.

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

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from sonicrx_ml import goals
from sonicrx_ml.fitting import prescribe_for, screened
from sonicrx_ml.knobs import Knob, knobs, moved, moves_between
from sonicrx_ml.listener import Listener
from sonicrx_ml.notes import Floats
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.session import Session
from sonicrx_ml.suggestion import Expected, Move, Suggestion

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


def suggest_for(
    who: Listener,
    sessions: Sequence[Session],
    goal: str,
    duration_s: float | None = None,
    *,
    base: Prescription | None = None,
    override: str | None = None,
    curiosity: float = CURIOSITY,
) -> Suggestion:
    """As `suggest`, from what a listener's profile makes of a goal, and past the listener's screen.

    base : start from this prescription for the goal instead.
    override : "who: why" of the clinician who lets the goal pass the screen.

    Raises as `suggest` and `fitting.prescribe_for` do, and `ValueError` for a base with another
    goal.
    """
    if base is None:
        start = prescribe_for(who, goal, duration_s, override=override)
    elif base.goal != goal:
        raise ValueError(f"goal {goal!r}; legal is the base's, {base.goal!r}")
    else:
        start = screened(who, base, override=override)
    found = suggest(who.id, sessions, start.prescription, curiosity)
    safe = screened(who, found.proposed, override=override)
    return replace(
        found, proposed=safe.prescription, warnings=safe.warnings, override=safe.override
    )


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
    best = known[_expect(model, known)[0].argmax()]
    centre = [np.clip(at, x.min(), x.max()) for x, at in zip(levels, best, strict=True)]
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
