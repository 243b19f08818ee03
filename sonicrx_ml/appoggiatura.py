"""The appoggiatura at the peak of an arc: a dissonance on the first beat, left by step.

While a triad sounds, the leading voice strikes the fourth above its root and falls to the third.
Whatever tone of the triad is lowest, the fourth is dissonant against it (over the root a fourth,
over F a tritone; over the third a second, over the fifth a seventh) and the third is consonant: the
suspensions 4-3, 9-8 and 7-6 of any textbook, unprepared. The triad is none of the tonic, so that
the peak leads on.

Pitches are canonical where a piece is composed (C major or A minor, whose scale is the white keys),
and as they sound where one is heard; times are in quarters. What counts as one is [E].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.notes import DRUMS, Bars, Notes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WHITE = np.array([0, 2, 4, 5, 7, 9, 11])
ROOTS = {"major": (3, 5, 1), "minor": (3, 1, 2)}  # of the white keys: IV, vi, ii; VI, iv, v
DISSONANT = (1, 2, 5, 6, 10, 11)  # semitones over the lowest note, octaves aside
CONSONANT = (0, 3, 4, 7, 8, 9)
SAME_TIME = 1 / 16  # quarters: less than the grid, more than performance strays


@dataclass(frozen=True, slots=True, eq=False)
class Appoggiatura:
    """Where it sounds, and what: the dissonant note and its resolution."""

    bar: int
    onset: Floats
    "(2,) quarters from the start of the piece."
    length: Floats
    "(2,) quarters."
    pitch: Ints
    "(2,)"
    chord: tuple[int, ...]
    "Pitch classes of the triad that everybody else plays in the bar."


def placed(
    bar: int, bars: Bars, mode: str | None, wanted: float, legal: Ints, seed: int
) -> Appoggiatura:
    """At the first beat of a bar, resolved in its middle (or on the second of three beats).

    wanted : pitch it should be near; legal : lowest and highest pitch; seed : which triad.
    """
    meter, roots = bars.meters[bar], ROOTS[mode or "major"]
    root = roots[seed % len(roots)]
    degrees = root + np.array([0, 2, 4])
    fourth, third = (int(WHITE[(root + step) % 7]) for step in (3, 2))
    high = np.arange(fourth, 128, 12)
    low = high - (fourth - third) % 12
    outside = np.maximum(legal[0] - low, 0) + np.maximum(high - legal[1], 0)
    best = int(np.argmin(1000 * outside + np.abs(high - wanted)))
    beats = round(meter.quarters / meter.felt_beat)
    held = max(1, beats // 2) * meter.felt_beat
    return Appoggiatura(
        bar,
        bars.edges[bar] + np.array([0.0, held]),
        np.array([held, meter.quarters - held]),
        np.array([high[best], low[best]]),
        tuple(WHITE[degrees % 7].tolist()),
    )


def heard(notes: Notes, start: float, end: float) -> int:
    """How many notes struck at `start` are appoggiaturas that resolve before `end`.

    Dissonant against the lowest note that sounds, and followed, when they are over, by a note of
    the same instrument a step away, consonant with the lowest note heard since `start`.
    """
    sounds = (notes.release > start + SAME_TIME) | (notes.onset >= start - SAME_TIME)
    notes = notes.select((notes.program != DRUMS) & sounds)
    struck = np.flatnonzero(np.abs(notes.onset - start) <= SAME_TIME)
    return sum(_resolves(notes, row, start, end) for row in struck.tolist())


def _resolves(notes: Notes, row: int, start: float, end: float) -> bool:
    pitch, mine = notes.pitch[row], notes.program == notes.program[row]
    if (pitch - _lowest(notes, start)) % 12 not in DISSONANT:
        return False
    later = mine & (notes.onset > start + SAME_TIME) & (notes.onset < end - SAME_TIME)
    step = np.abs(notes.pitch - pitch)
    goes_on = later & (step <= 2)
    if not goes_on.any():
        return False
    then = float(notes.onset[goes_on].min())
    left = notes.release[row] <= then + SAME_TIME
    at_once = goes_on & (notes.onset <= then + SAME_TIME)
    lowest = _lowest(notes, then)
    resolved = (step > 0) & np.isin((notes.pitch - lowest) % 12, CONSONANT)
    return bool(left and (at_once & resolved).any() and not (at_once & (step == 0)).any())


def _lowest(notes: Notes, time: float) -> int:
    """The lowest note that has begun by `time`."""
    return int(notes.pitch[notes.onset <= time + SAME_TIME].min())
