"""From the listener's tempo to the target: how fast a tempo may move, and how fast one does.

`iso` is matched to the listener first, then glides, then rests at the target; `direct` is at the
target from the start. In a pre-registered study the two did equally well, so both are offered.

A listener notices a step of 1.5 to 3 % (Drake & Botte 1993) and a drift of .2 to .3 % a beat
(Madison & Merker). A glide that should go unnoticed changes by at most .15 % a beat; where the time
does not allow that, the tempo is held over sections and steps by at most 3 % where they join; and
where it does not allow that either, the glide is as even as it can be, and the judge says so.

Units: felt BPM, seconds; changes in % from one felt beat to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.curve import MIN_STEP, Curve

Floats = NDArray[np.float64]

STRATEGIES = ("iso", "direct")
SHAPES = ((0.18, 0.55), (0.15, 0.60))  # shares matched and gliding: the usual, and the widest [E]
GLIDE_LIMIT = 0.15  # % a beat
STEP_LIMIT = 3.0  # %
STEP_NOTICED = (1.5, 3.0)  # %, Drake & Botte 1993
DRIFT_NOTICED = (0.2, 0.3)  # % a beat, Madison & Merker
SECTION_BARS = 4
HELD_BEATS = 8  # before and after a change that is a step; else it is part of a drift [E]
STEADY = 0.02  # % a beat: what a tempo in whole microseconds a quarter may stray, and some
KNOTS = 33  # of a glide
STEP_MADE = 2.95  # %, a little under the limit
LATEST_TARGET = 0.9  # share of the music at which the target must be reached [E]


@dataclass(frozen=True, slots=True)
class TempoChange:
    """The largest changes of a tempo."""

    step: float
    """% from one held tempo to the next; 0 where there is no step."""
    drift: float
    """% a beat, steps left out."""

    @property
    def place(self) -> str:
        """In words, against what listeners notice."""
        if max(self.step, self.drift) <= STEADY:
            return "steady"
        if self.step > STEP_NOTICED[1] or self.drift > DRIFT_NOTICED[1]:
            return "noticed"
        if self.step > STEP_NOTICED[0] or self.drift > DRIFT_NOTICED[0]:
            return "just noticeable"
        return "unnoticed"


def tempo_change(beat_seconds: Floats) -> TempoChange:
    """How a tempo changes, from the second at which each felt beat falls (n,)."""
    lengths = np.diff(beat_seconds)
    change = 100.0 * np.abs(lengths[:-1] / lengths[1:] - 1.0)
    moving = np.concatenate([[0], np.cumsum(change > STEADY)])
    at = np.arange(len(change))
    first, last = (at - HELD_BEATS + 1).clip(0), (at + HELD_BEATS).clip(max=len(change))
    alone = moving[last] - moving[first] == 1
    step = alone & (change > STEADY)
    return TempoChange(float(change[step].max(initial=0.0)), float(change[~step].max(initial=0.0)))


# ---------------------------------------------------------------- laying a tempo


def laid(curve: Curve, strategy: str) -> Curve:
    """A curve from where it starts to where it ends, in the usual shape of the strategy."""
    start, target = curve.points[0][1], curve.points[-1][1]
    return Curve.of(target) if strategy == "direct" else _ramp(start, target, SHAPES[0])


def laid_tempo(curve: Curve, strategy: str, seconds: float, beats_per_bar: int) -> Curve:
    """A tempo from where it starts to where it ends, changing as little at once as time allows."""
    start, target = curve.points[0][1], curve.points[-1][1]
    if strategy == "direct" or start == target:
        return Curve.of(target)
    for shape in SHAPES:
        glide = _glide(start, target, shape)
        if _fastest(glide, seconds) <= GLIDE_LIMIT:
            return glide
    stepped = _steps(start, target, seconds, beats_per_bar)
    return glide if stepped is None else stepped


def _fastest(curve: Curve, seconds: float) -> float:
    """Largest change in % a beat: the slope in beats is that in seconds over the tempo."""
    fraction, bpm = np.array(curve.points).T
    slope = np.abs(np.diff(bpm)) / np.diff(fraction) / seconds * 60.0
    return float((100.0 * slope / np.minimum(bpm[1:], bpm[:-1]) ** 2).max())


def _ramp(start: float, target: float, shape: tuple[float, float]) -> Curve:
    matched, turn = shape[0], sum(shape)
    return Curve(((0.0, start), (matched, start), (turn, target), (1.0, target)))


def _glide(start: float, target: float, shape: tuple[float, float]) -> Curve:
    """Beats whose length grows or shrinks evenly in time: by the same share at every beat."""
    fractions = shape[0] + shape[1] * np.linspace(0.0, 1.0, KNOTS)
    bpm = 1.0 / np.linspace(1.0 / start, 1.0 / target, KNOTS)
    knots = zip(fractions.tolist(), bpm.tolist(), strict=True)
    return Curve(((0.0, start), *knots, (1.0, target)))


def _steps(start: float, target: float, seconds: float, beats_per_bar: int) -> Curve | None:
    """Tempi held over sections, each within a step of the last; None where time is too short."""
    matched, gliding = SHAPES[-1]
    count = int(np.ceil(abs(np.log(target / start)) / np.log1p(STEP_MADE / 100.0)))
    bpm = start * (target / start) ** (np.arange(count + 1) / count)
    section_s = SECTION_BARS * beats_per_bar * 60.0 / bpm[:-1]
    wanted = np.full(count, gliding * seconds / max(count - 1, 1))
    wanted[0] = matched * seconds
    joins = np.cumsum(np.maximum(np.rint(wanted / section_s), 1.0) * section_s) / seconds
    if joins[-1] > LATEST_TARGET:
        return None
    fractions = np.stack([joins - 2 * MIN_STEP, joins], axis=1).ravel()
    levels = np.stack([bpm[:-1], bpm[1:]], axis=1).ravel()
    points = zip(fractions.tolist(), levels.tolist(), strict=True)
    return Curve(((0.0, start), *points, (1.0, target)))
