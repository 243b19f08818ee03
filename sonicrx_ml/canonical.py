"""A piece as the model sees it: few meters, timbre families, a fixed grid, and C major or A minor.

The model composes in this form and the form is undone by a prescription: transposition to the asked
key, real programs for families, a tempo curve. Every step is a pure function `Notes -> Notes`.

Grid
----
A *beat* here is the written one (the denominator of the meter), `GRID` positions each, which is
also MidiTok's convention: an eighth note is 12 positions in 6/8 and 6 positions in 4/4.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.notes import (
    Bars,
    Floats,
    Ints,
    Meter,
    MidiError,
    Notes,
    TempoMap,
    until_struck_again,
)
from sonicrx_ml.palette import FAMILIES, FAMILY_OF_PROGRAM

GRID = 12  # positions per written beat: holds sixteenths and triplets
LOWEST, HIGHEST = 21, 108  # the piano's range, MIDI pitch
METERS: dict[int, tuple[int, ...]] = {4: (2, 3, 4, 5, 6, 7), 8: (3, 5, 6, 7, 9, 12)}
LONGEST = 16  # beats of the longest single note
# Durations in positions: every one up to 4 beats, then every half beat.
DURATIONS: Ints = np.concatenate(
    [np.arange(1, 4 * GRID), np.arange(4 * GRID, LONGEST * GRID + 1, GRID // 2)]
)
#: Why a note is not on the grid.
LOSSES = {
    "unpitched": "drums and other sounds without pitch",
    "off_range": "off the piano's range",
    "past_end": "onset nearest to the end of the last bar",
    "merged": "struck at the position of a longer note of the same key",
}
# Other meters are read as the legal one with the same bar lines or whole groups of them.
_SAME_AS = {
    (1, 1): (4, 4), (2, 1): (4, 4), (3, 1): (6, 4), (4, 1): (4, 4), (1, 2): (2, 4), (2, 2): (4, 4),
    (3, 2): (6, 4), (4, 2): (4, 4), (6, 2): (6, 4), (1, 4): (4, 4), (8, 4): (4, 4), (9, 4): (3, 4),
    (12, 4): (6, 4), (2, 8): (2, 4), (4, 8): (2, 4), (8, 8): (4, 4), (6, 16): (3, 8),
    (12, 16): (6, 8), (3, 16): (3, 8), (4, 16): (2, 4), (8, 16): (2, 4),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gridded:
    """Notes snapped to the grid: whole-number columns, sorted by (bar, position, family, pitch).

    bar : bar of the onset; position : positions from its bar line;
    length : positions of its own meter, one of `DURATIONS`; family : index into `FAMILIES`.
    """

    bar: Ints
    position: Ints
    length: Ints
    pitch: Ints
    family: Ints
    velocity: Ints
    meters: tuple[Meter, ...]

    def __len__(self) -> int:
        return len(self.bar)


def simplify_meters(notes: Notes) -> Notes:
    """Rewrite meters into `METERS`; a short first segment is a pickup and ends its bar.

    Raises `MidiError` for a meter that has no legal equivalent.
    """
    meters = [_legal(meter) for meter in notes.meters]
    shift = 0.0
    if len(meters) > 1 and meters[1].start < meters[1].quarters - 1e-6:
        shift = meters[1].quarters - meters[1].start
        meters = meters[1:]
    moved = [replace(m, start=m.start + shift) for m in meters]
    moved[0] = replace(moved[0], start=0.0)
    merged = [next(same) for _, same in itertools.groupby(moved, key=str)]
    starts = np.concatenate([[0.0], notes.tempo.start[1:] + shift])
    tempo = TempoMap(starts, notes.tempo.bpm)
    return replace(notes, onset=notes.onset + shift, meters=tuple(merged), tempo=tempo)


def _legal(meter: Meter) -> Meter:
    if meter.numerator in METERS.get(meter.denominator, ()):
        return meter
    same = _SAME_AS.get((meter.numerator, meter.denominator))
    if same is None:
        raise MidiError(f"unsupported meter {meter}")
    return Meter(meter.start, *same)


def playable(notes: Notes) -> Notes:
    """Without drums, unpitched programs, and pitches off the piano's range."""
    kept = ~_unpitched(notes) & (notes.pitch >= LOWEST) & (notes.pitch <= HIGHEST)
    if not kept.any():
        raise MidiError("no pitched notes on the piano's range")
    return notes.select(kept)


def _unpitched(notes: Notes) -> NDArray[np.bool_]:
    return FAMILY_OF_PROGRAM[notes.program] < 0


def into_range(notes: Notes) -> Notes:
    """Pitches that a transposition pushed off the piano's range come back by octaves."""
    low = np.maximum(0, -(-(LOWEST - notes.pitch) // 12))
    high = np.maximum(0, -(-(notes.pitch - HIGHEST) // 12))
    return replace(notes, pitch=notes.pitch + 12 * (low - high))


def snap(notes: Notes, bars: Bars) -> Gridded:
    """Snap playable notes to the grid.

    A key of an instrument sounds once at a time, as in MIDI: of notes that coincide in all but
    length the longest stays, and a note ends where its pitch is struck again.
    """
    unit = _units(bars.meters)
    bar, position = _places(notes, bars)
    inside = bar < len(bars)
    bar, position = bar[inside], position[inside]
    length = nearest_duration(notes.duration[inside] / unit[bar])
    pitch = notes.pitch[inside]
    family = FAMILY_OF_PROGRAM[notes.program[inside]].astype(np.int64)
    order = np.lexsort((-length, pitch, family, position, bar))
    columns = np.stack([bar, position, family, pitch, length, notes.velocity[inside]])[:, order]
    fresh = np.ones(columns.shape[1], dtype=bool)
    fresh[1:] = (columns[:4, 1:] != columns[:4, :-1]).any(axis=0)
    bar, position, family, pitch, length, velocity = columns[:, fresh]
    room = until_struck_again(bars.edges[bar] + position * unit[bar], pitch, family) / unit[bar]
    return Gridded(bar, position, _within(length, room), pitch, family, velocity, bars.meters)


def _units(meters: tuple[Meter, ...]) -> Floats:
    """Quarters of a position in each bar."""
    return np.array([4.0 / meter.denominator / GRID for meter in meters])


def _places(notes: Notes, bars: Bars) -> tuple[Ints, Ints]:
    """Nearest bar and position of each onset; past the last bar line the bar is `len(bars)`."""
    bar, unit = bars.index(notes.onset), _units(bars.meters)
    size = np.array([meter.numerator * GRID for meter in bars.meters])
    position = np.rint((notes.onset - bars.edges[bar]) / unit[bar]).astype(np.int64)
    over = position >= np.minimum(size[bar], np.rint(np.diff(bars.edges)[bar] / unit[bar]))
    return np.where(over, bar + 1, bar), np.where(over, 0, position)


def losses(notes: Notes, played: Notes, bars: Bars, grid: Gridded) -> dict[str, int]:
    """How many notes of a file are not on the grid, under the names and reasons in `LOSSES`.

    played : the playable ones, as they were snapped to `grid` on `bars`.
    """
    unpitched = int(_unpitched(notes).sum())
    past_end = int((_places(played, bars)[0] == len(bars)).sum())
    return {
        "unpitched": unpitched,
        "off_range": len(notes) - len(played) - unpitched,
        "past_end": past_end,
        "merged": len(played) - past_end - len(grid),
    }


def _within(length: Ints, room: Floats) -> Ints:
    """Lengths cut to a legal duration within their room (positions), but to no less than one.

    Where a change of meter cuts a bar in mid-position, a key can be struck again half a position
    later, which is no room at all.
    """
    room = np.rint(np.clip(room, DURATIONS[0], DURATIONS[-1]))
    return np.minimum(length, DURATIONS[np.searchsorted(DURATIONS, room, side="right") - 1])


def nearest_duration(positions: Floats) -> Ints:
    """The legal duration nearest to each number of positions."""
    middle = (DURATIONS[1:] + DURATIONS[:-1]) / 2
    return DURATIONS[np.searchsorted(middle, positions)]


def full_bars(meters: tuple[Meter, ...]) -> Bars:
    """A grid of complete bars of the given meters, from 0."""
    edges = np.concatenate([[0.0], np.cumsum([meter.quarters for meter in meters])])
    placed = tuple(
        replace(meter, start=float(start)) for meter, start in zip(meters, edges, strict=False)
    )
    return Bars(edges, placed)


def unsnap(grid: Gridded, bars: Bars | None = None, tempo: TempoMap | None = None) -> Notes:
    """Back to quarters, on `bars` (default: full bars), each family on its own program."""
    bars = bars or full_bars(grid.meters)
    unit = _units(grid.meters)[grid.bar]
    programs = np.array(list(FAMILIES.values()))
    changes = [next(same) for _, same in itertools.groupby(bars.meters, key=str)]
    return Notes(
        onset=bars.edges[grid.bar] + grid.position * unit,
        duration=grid.length * unit,
        pitch=grid.pitch,
        velocity=grid.velocity,
        program=programs[grid.family],
        meters=tuple(changes),
        tempo=tempo or TempoMap(),
    )
