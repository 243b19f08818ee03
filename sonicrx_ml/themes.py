"""Melodies that come back: what is taken up of what was composed before.

A melody is the top line of the leading family over some bars. Where it comes back it moves by
octaves to the register then asked, and is thinned where fewer notes are asked: bar lines and beats
stay longest, and a note that stays is held over those that go.

Positions are those of the grid (`canonical.GRID` to the written beat).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.canonical import GRID, Gridded, nearest_duration
from sonicrx_ml.palette import FAMILIES, RANGES
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.sections import Return

Ints = NDArray[np.int64]

FEWEST = 4  # notes of a melody; fewer are not one [E]
DEPTH = 12  # semitones below its median that a note of the line may be: lower ones accompany [E]
SHARE = 0.8  # of the asked onsets that a melody may take: the rest is for who accompanies [E]
OFF = 4  # semitones that it may be from the asked register [E]
FARTHEST = 2  # octaves that it may move


@dataclass(frozen=True, slots=True, eq=False)
class Melody:
    """Notes in order: position from the first bar line, length, pitch."""

    onset: Ints
    length: Ints
    pitch: Ints

    def __len__(self) -> int:
        return len(self.onset)

    def select(self, rows: NDArray | slice) -> Melody:
        return Melody(self.onset[rows], self.length[rows], self.pitch[rows])


def top_line(grid: Gridded, first: int, stop: int, family: str) -> Melody:
    """The highest notes of a family in bars `first` to `stop` (not included) of bars alike.

    A note below one that still sounds is not of the line, nor is one far below the others.
    """
    mine = (grid.bar >= first) & (grid.bar < stop) & (grid.family == list(FAMILIES).index(family))
    size = grid.meters[0].numerator * GRID
    onset = ((grid.bar - first) * size + grid.position)[mine]
    length, pitch = grid.length[mine], grid.pitch[mine]
    order = np.lexsort((-pitch, onset))
    kept: list[int] = []
    for row in order.tolist():
        if kept and (onset[row] == onset[kept[-1]] or _under(onset, length, pitch, kept[-1], row)):
            continue
        kept.append(row)
    line = Melody(onset[kept], length[kept], pitch[kept])
    return line.select(line.pitch >= np.median(line.pitch) - DEPTH) if kept else line


def _under(onset: Ints, length: Ints, pitch: Ints, before: int, row: int) -> bool:
    """Whether a note begins below the one before it in the line while that sounds."""
    return bool(onset[row] < onset[before] + length[before] and pitch[row] < pitch[before])


def taken_up(line: Melody, plan: BarPlan, back: Return) -> Melody:
    """As it sounds where it comes back; without notes where there is too little of it, or where no
    octave of it is near the register then asked."""
    wanted = _change(plan, back)
    if len(line) < FEWEST or abs(wanted - 12 * round(wanted / 12)) > OFF:
        return line.select(slice(0))
    line = _thinned(line, plan, back)
    return replace(line, pitch=line.pitch + 12 * _octaves(line, plan, wanted))


def _change(plan: BarPlan, back: Return) -> float:
    """Semitones by which the asked register is higher where the melody comes back."""
    asked = plan.targets["register"]
    there, here = (asked[first:][: back.bars].mean() for first in (back.source, back.site))
    return 0.0 if np.isnan(here - there) else float(here - there)


def _octaves(line: Melody, plan: BarPlan, wanted: float) -> int:
    """To move by: within the instrument's range, what is nearest to the wanted semitones."""
    low, high = np.array(RANGES[plan.families[0]]) - plan.transposition
    octaves = np.arange(-FARTHEST, FARTHEST + 1)
    lowest, highest = line.pitch.min() + 12 * octaves, line.pitch.max() + 12 * octaves
    outside = np.maximum(low - lowest, 0) + np.maximum(highest - high, 0)
    return int(octaves[np.argmin(1000 * outside + np.abs(12 * octaves - wanted))])


def _thinned(line: Melody, plan: BarPlan, back: Return) -> Melody:
    """No more of it than the asked density has room for."""
    meter = plan.bars.meters[0]
    asked = plan.targets["density"][back.site :][: back.bars].sum()
    room = SHARE * asked * meter.quarters / meter.felt_beat
    if np.isnan(room) or len(line) <= room:
        return line
    place, beat = line.onset % (meter.numerator * GRID), round(meter.felt_beat / 4 * GRID)
    beat *= meter.denominator
    weight = np.where(place == 0, 2, np.where(place % beat == 0, 1, 0))
    best = np.lexsort((line.onset, -line.length, -weight))[: max(FEWEST, int(room))]
    kept = np.sort(best)
    ends = np.append(line.onset[kept[1:]], line.onset[-1] + line.length[-1])
    held = np.minimum(ends - line.onset[kept], meter.numerator * GRID)
    follows = np.append(kept[1:], len(line)) - kept > 1
    length = np.where(follows, np.maximum(held, line.length[kept]), line.length[kept])
    return Melody(line.onset[kept], nearest_duration(length), line.pitch[kept])
