"""A given MIDI file: what is read of it, and the file with notes taken out and tracks laid beside.

The file is changed as a file: its notes, tracks, controllers and tempi stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import symusic

from sonicrx_ml import attributes, canonical, keys
from sonicrx_ml.curve import Curve
from sonicrx_ml.keys import Key
from sonicrx_ml.notes import Bars, MidiError, Notes, TempoMap, read_midi
from sonicrx_ml.palette import FAMILY_OF_PROGRAM
from sonicrx_ml.prescription import CONTROLS

FINE = 96  # ticks a quarter that a file must have for new notes; coarser ones are multiplied
MOST_INSTRUMENTS = 4  # of a file that new music is composed for, where they are open [E]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file that is composed on to. Times are in quarters from its first bar line, which is
    `shift` before its own zero where it begins with a pickup."""

    data: bytes
    notes: Notes
    "All of its notes, as in the file but for the shift."
    heard: Notes
    "Those that the composer can hear, in the file's key."
    bars: Bars
    key: Key
    shift: float

    @property
    def programs(self) -> tuple[int, ...]:
        """General MIDI programs that play in it, `notes.DRUMS` for percussion."""
        return tuple(np.unique(self.notes.program).tolist())

    @property
    def lost(self) -> Mapping[str, int]:
        """How many notes the composer does not hear, by reason, and hears at another position."""
        grid = canonical.snap(self.heard, self.bars)
        found = canonical.losses(self.notes, self.heard, self.bars, grid)
        unit = np.array([4.0 / m.denominator / canonical.GRID for m in self.bars.meters])
        bar = self.bars.index(self.heard.onset)
        steps = (self.heard.onset - self.bars.edges[bar]) / unit[bar]
        off = int((np.abs(steps - np.rint(steps)) > 1e-6).sum())
        return {reason: n for reason, n in (*found.items(), ("off the grid", off)) if n}


def read(source: Path | str | bytes) -> Source:
    """Raises `MidiError`, which names the file, where there is nothing to read, or a meter that no
    token has."""
    if not isinstance(source, bytes):
        try:
            return read(Path(source).read_bytes())
        except MidiError as error:
            raise MidiError(f"{source}: {error}") from error
    data = source
    original = read_midi(data)
    notes = canonical.simplify_meters(original)
    heard = canonical.playable(notes)
    shift = float(notes.onset[0] - original.onset[0])
    return Source(data, notes, heard, notes.bars(), keys.estimate_key(heard), shift)


def check_span(source: Source, first: int, last: int) -> None:
    """Raises `ValueError` for bars that cannot be filled, counted from 1."""
    count = len(source.bars)
    if not 1 <= first <= last <= count:
        raise ValueError(f"fill [{first}, {last}]; legal are bars 1 to {count}, first to last")
    meters = {str(meter) for meter in source.bars.meters[first - 1 : last]}
    if len(meters) > 1:
        raise ValueError(
            f"fill [{first}, {last}] holds meters {', '.join(sorted(meters))}; legal is one"
        )


def seconds_of(source: Source, first: int, last: int) -> float:
    """Length of bars `first` to `last`, counted from 1."""
    check_span(source, first, last)
    ends = source.notes.tempo.seconds(source.bars.edges[[first - 1, last]])
    return float(ends[1] - ends[0])


def most_used(source: Source, stop: int) -> list[int]:
    """Families that begin notes before bar `stop` (anywhere, if none do), the busiest first."""
    before = source.heard.onset < source.bars.edges[stop]
    notes = source.heard.select(before) if before.any() else source.heard
    found = Counter(FAMILY_OF_PROGRAM[notes.program].tolist())
    return [family for family, _ in found.most_common(MOST_INSTRUMENTS)]


def felt_curve(source: Source, first: int, stop: int) -> Curve:
    """Felt tempo over bars of one meter, as the file has it."""
    seconds = source.notes.tempo.seconds(source.bars.edges[first : stop + 1])
    middle = (seconds[:-1] + seconds[1:]) / 2 - seconds[0]
    bpm = [felt_bpm(source, bar, bar + 1) for bar in range(first, stop)]
    if np.ptp(bpm) < 1e-6:
        return Curve.of(bpm[0])
    shares = middle / (seconds[-1] - seconds[0])
    return Curve.of([[0.0, bpm[0]], *zip(shares.tolist(), bpm, strict=True), [1.0, bpm[-1]]])


def felt_bpm(source: Source, first: int, stop: int) -> float:
    """Mean over bars of one meter."""
    edges = source.bars.edges[[first, stop]]
    beats = (edges[1] - edges[0]) / source.bars.meters[first].felt_beat
    bpm = float(60.0 * beats / np.diff(source.notes.tempo.seconds(edges))[0])
    legal = CONTROLS["tempo"]
    if not legal.low <= bpm <= legal.high:
        raise ValueError(
            f"the file's tempo in bars {first + 1} to {stop} is {bpm:.4g} felt BPM; legal are "
            f"{legal.range}"
        )
    return bpm


# ---------------------------------------------------------------- the file


def score(source: Source) -> Any:
    score = symusic.Score.from_midi(source.data)
    if score.ticks_per_quarter < FINE:
        factor = -(-FINE // score.ticks_per_quarter)
        score = score.resample(score.ticks_per_quarter * factor, min_dur=1)
    return score


def remove(score: Any, begin: float, end: float) -> int:
    """Notes that begin in a span of quarters go; how many those are.

    A note that begins up to 1/32 of a quarter early belongs to the bar that it anticipates.
    """
    ticks = score.ticks_per_quarter
    low, high = (np.array([begin, end]) - attributes.SIMULTANEOUS) * ticks
    gone = 0
    for track in score.tracks:
        kept = [note for note in track.notes if not low <= note.time < high]
        gone += len(track.notes) - len(kept)
        track.notes = type(track.notes)(kept)
    return gone


def append(score: Any, notes: Notes, start: float) -> None:
    """New tracks, one for each program."""
    ticks = score.ticks_per_quarter
    for program in np.unique(notes.program):
        mine = notes.select(notes.program == program)
        begin = np.rint((mine.onset + start) * ticks).astype(int)
        end = np.maximum(np.rint((mine.release + start) * ticks).astype(int), begin + 1)
        track = symusic.Track("composed", int(program), False)
        columns = (begin, end - begin, mine.pitch, mine.velocity)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            track.notes.append(symusic.Note(*row))
        score.tracks.append(track)


def set_tempo(score: Any, tempo: TempoMap, start: float) -> None:
    """A tempo map from a time in quarters on."""
    ticks = score.ticks_per_quarter
    kept = [old for old in score.tempos if old.time < round(start * ticks)]
    new = [
        symusic.Tempo(round((start + quarter) * ticks), float(bpm))
        for quarter, bpm in zip(tempo.start, tempo.bpm, strict=True)
    ]
    score.tempos = type(score.tempos)([*kept, *new])
