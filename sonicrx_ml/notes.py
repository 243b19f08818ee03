"""Notes as columns, and MIDI files in and out.

Conventions
-----------
* Time on the page is in **quarter notes** (`float64`, "quarters") from the start of the piece;
  time in the ear is in seconds, and `TempoMap` converts between the two.
* A column is a one-dimensional array; row *i* of every column is the same note.
  Notes are sorted by (onset, program, pitch).
* Programs are General MIDI programs 0-127; `DRUMS` (128) marks the percussion channel.
* The *felt beat* is the quarter note, or the dotted quarter in compound meters (3/8, 6/8, 9/8,
  12/8).
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import symusic
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRUMS = 128
TICKS_PER_QUARTER = 480
DEFAULT_BPM = 120.0
MAX_QUARTERS = 1_000_000.0  # about six days at 120 BPM: beyond it a file is corrupt


class MidiError(ValueError):
    """A MIDI file that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Meter:
    """One time signature, in force from `start` (quarters)."""

    start: float
    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @property
    def quarters(self) -> float:
        """Length of a bar in quarters."""
        return 4.0 * self.numerator / self.denominator

    @property
    def felt_beat(self) -> float:
        """Length of the felt beat in quarters: 1.5 in compound meters, else 1."""
        return 1.5 if self.denominator == 8 and self.numerator % 3 == 0 else 1.0


@dataclass(frozen=True, slots=True)
class TempoMap:
    """Piecewise-constant tempo: `bpm[i]` quarters per minute from `start[i]` (quarters) on."""

    start: Floats = field(default_factory=lambda: np.zeros(1))
    bpm: Floats = field(default_factory=lambda: np.full(1, DEFAULT_BPM))

    def __post_init__(self) -> None:
        if len(self.start) != len(self.bpm) or len(self.start) == 0 or self.start[0] != 0:
            raise ValueError("a tempo map starts at 0 and has one BPM per start")
        if not (np.diff(self.start) > 0).all() or not (self.bpm > 0).all():
            raise ValueError("tempo starts must increase and every BPM be positive")

    def seconds(self, quarters: Floats) -> Floats:
        """Seconds at each time in quarters (any shape)."""
        per_quarter = 60.0 / self.bpm
        at_start = np.concatenate([[0.0], np.cumsum(np.diff(self.start) * per_quarter[:-1])])
        segment = np.clip(np.searchsorted(self.start, quarters, side="right") - 1, 0, None)
        return at_start[segment] + (quarters - self.start[segment]) * per_quarter[segment]


@dataclass(frozen=True, slots=True)
class Bars:
    """The bar grid: `edges` (n + 1 bar lines, quarters) and the meter of each of the n bars."""

    edges: Floats
    meters: tuple[Meter, ...]

    def __len__(self) -> int:
        return len(self.meters)

    def index(self, quarters: Floats) -> Ints:
        """Bar that each time falls in, clipped to the grid."""
        found = np.searchsorted(self.edges, quarters, side="right") - 1
        return np.clip(found, 0, len(self) - 1)


@dataclass(frozen=True, slots=True)
class Notes:
    """A piece: note columns, meters and a tempo map."""

    onset: Floats
    duration: Floats
    pitch: Ints
    velocity: Ints
    program: Ints
    meters: tuple[Meter, ...] = (Meter(0.0, 4, 4),)
    tempo: TempoMap = field(default_factory=TempoMap)

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def release(self) -> Floats:
        return self.onset + self.duration

    @property
    def end(self) -> float:
        """Last release in quarters (0 for no notes)."""
        return float(self.release.max(initial=0.0))

    @property
    def end_seconds(self) -> float:
        return float(self.tempo.seconds(np.array([self.end]))[0])

    def select(self, rows: NDArray) -> Notes:
        """The notes of a boolean mask or an index array."""
        return replace(
            self,
            onset=self.onset[rows],
            duration=self.duration[rows],
            pitch=self.pitch[rows],
            velocity=self.velocity[rows],
            program=self.program[rows],
        )

    def sort(self) -> Notes:
        return self.select(np.lexsort((self.pitch, self.program, self.onset)))

    def transpose(self, semitones: int) -> Notes:
        """Moved by semitones; drums stay."""
        return replace(
            self, pitch=np.where(self.program == DRUMS, self.pitch, self.pitch + semitones)
        )

    def bars(self, at_least: int = 1) -> Bars:
        """Bar grid that covers every onset and at least `at_least` bars.

        A meter change in mid-bar starts a new bar there.
        """
        last_onset = float(self.onset.max(initial=0.0))
        edges: list[Floats] = []
        meters: list[Meter] = []
        starts = [meter.start for meter in self.meters[1:]]
        for meter, stop in itertools.zip_longest(self.meters, starts):
            if stop is None:
                wanted = max(1, at_least - len(meters))
                count = max(wanted, int((last_onset - meter.start + 1e-6) // meter.quarters) + 1)
            else:
                count = int(np.ceil((stop - meter.start) / meter.quarters - 1e-6))
            edges.append(meter.start + meter.quarters * np.arange(count, dtype=np.float64))
            meters += [meter] * count
        edges.append(np.array([edges[-1][-1] + meters[-1].quarters]))
        return Bars(np.concatenate(edges), tuple(meters))


def until_struck_again(onset: Floats, pitch: Ints, instrument: Ints) -> Floats:
    """Time from each onset to the next of its key on its instrument; infinite where none comes."""
    order = np.lexsort((onset, pitch, instrument))
    same = (np.diff(instrument[order]) == 0) & (np.diff(pitch[order]) == 0)
    room = np.full(len(onset), np.inf)
    room[order[:-1][same]] = np.diff(onset[order])[same]
    return room


# ---------------------------------------------------------------- MIDI in


def read_midi(source: Path | str | bytes) -> Notes:
    """Read a Standard MIDI File (path or bytes). Raises `MidiError` with the reason."""
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise MidiError(f"cannot be opened: {error.strerror or error}") from error
    _check_chunks(data)
    try:
        score = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError) as error:
        raise MidiError(f"cannot be parsed: {str(error).splitlines()[0][:160]}") from error
    if score.ticks_per_quarter <= 0:
        raise MidiError(f"time division {score.ticks_per_quarter} is not in ticks per quarter")
    return _from_score(score)


def _check_chunks(data: bytes) -> None:
    """The header says how many track chunks follow; they must fill the file exactly."""
    if len(data) < 14 or data[:4] != b"MThd":
        raise MidiError(f"not a MIDI file: starts with {data[:4]!r}, not b'MThd'")
    declared = int.from_bytes(data[10:12], "big")
    end, found = 8 + int.from_bytes(data[4:8], "big"), 0
    while end + 8 <= len(data) and found < declared:
        if data[end : end + 4] != b"MTrk":
            raise MidiError(f"chunk {data[end : end + 4]!r} at byte {end} is not a track")
        end += 8 + int.from_bytes(data[end + 4 : end + 8], "big")
        found += 1
    if end != len(data):
        raise MidiError(f"chunk lengths add up to {end} bytes, the file has {len(data)}")
    if found != declared:
        raise MidiError(f"{declared} tracks declared, {found} found")


def _check_data_bytes(name: str, values: NDArray[np.integer]) -> None:
    """MIDI data bytes end at 127; the parser keeps larger ones (wrapped to below 0 in notes)."""
    wrong = values[(values < 0) | (values > 127)]
    if len(wrong):
        raise MidiError(f"{name} {int(wrong[0]) % 256}; legal are 0 to 127")


def _from_score(score: symusic.Score) -> Notes:
    tracks = [(track, track.notes.numpy()) for track in score.tracks if len(track.notes)]
    if not tracks:
        raise MidiError("no notes")
    column = {
        name: np.concatenate([notes[name] for _, notes in tracks])
        for name in ("time", "duration", "pitch", "velocity")
    }
    _check_data_bytes("note pitch", column["pitch"])
    _check_data_bytes("note velocity", column["velocity"])
    _check_data_bytes("program", np.array([track.program for track, _ in tracks]))
    for track in score.tracks:
        controls = track.controls.numpy()
        _check_data_bytes("controller number", controls["number"])
        _check_data_bytes("controller value", controls["value"])
    program = np.concatenate(
        [np.full(len(notes["time"]), DRUMS if t.is_drum else t.program) for t, notes in tracks]
    )
    tpq = float(score.ticks_per_quarter)
    notes = Notes(
        onset=column["time"] / tpq,
        duration=column["duration"] / tpq,
        pitch=column["pitch"].astype(np.int64),
        velocity=column["velocity"].astype(np.int64),
        program=program.astype(np.int64),
        meters=_meters(score),
        tempo=_tempo(score),
    )
    last = max(notes.end, notes.meters[-1].start)
    if last > MAX_QUARTERS:
        raise MidiError(f"lasts {last:.0f} quarters; legal are up to {MAX_QUARTERS:.0f}")
    notes = notes.select((notes.duration > 0) & (notes.velocity > 0))
    if len(notes) == 0:
        raise MidiError("no notes of positive length")
    return notes.sort()


def _meters(score: symusic.Score) -> tuple[Meter, ...]:
    """Time signatures in order; 4/4 until the first one; the last one at a given time wins."""
    tpq = float(score.ticks_per_quarter)
    found = {0.0: Meter(0.0, 4, 4)}
    for signature in score.time_signatures:
        if signature.numerator < 1 or signature.denominator < 1:
            raise MidiError(f"time signature {signature.numerator}/{signature.denominator}")
        found[signature.time / tpq] = Meter(
            signature.time / tpq, signature.numerator, signature.denominator
        )
    ordered = [found[start] for start in sorted(found)]
    kept = ordered[:1]
    for meter in ordered[1:]:
        if str(meter) != str(kept[-1]):
            kept.append(meter)
    return tuple(kept)


def _tempo(score: symusic.Score) -> TempoMap:
    tpq = float(score.ticks_per_quarter)
    found = {0.0: DEFAULT_BPM}
    for tempo in score.tempos:
        if np.isfinite(tempo.qpm) and tempo.qpm > 0:
            found[tempo.time / tpq] = float(tempo.qpm)
    starts = sorted(found)
    return TempoMap(np.array(starts), np.array([found[start] for start in starts]))


# ---------------------------------------------------------------- MIDI out


@dataclass(frozen=True, slots=True)
class ControlChange:
    """A controller value for every track of `program`, at `quarter`."""

    quarter: float
    program: int
    number: int
    value: int


def write_midi(notes: Notes, controls: Sequence[ControlChange] = ()) -> bytes:
    """A Standard MIDI File (type 1, 480 ticks per quarter), one track per program, as bytes.

    Written through pretty_midi; equal input gives equal bytes. Times fall on ticks, and tempi on
    whole microseconds a quarter, which is what MIDI holds: at 60 BPM a tempo is off by 5e-7 at
    most, 4 ms after two hours.
    """
    midi = _conductor(notes)
    starts = _to_seconds(midi, notes.onset)
    ends = _to_seconds(midi, notes.release)
    for program in np.unique(notes.program):
        drums = program == DRUMS
        instrument = pretty_midi.Instrument(0 if drums else int(program), is_drum=bool(drums))
        for row in np.flatnonzero(notes.program == program):
            instrument.notes.append(
                pretty_midi.Note(
                    int(notes.velocity[row]), int(notes.pitch[row]), starts[row], ends[row]
                )
            )
        chosen = [c for c in controls if c.program == program]
        times = _to_seconds(midi, np.array([c.quarter for c in chosen]))
        instrument.control_changes = [
            pretty_midi.ControlChange(c.number, c.value, time)
            for c, time in zip(chosen, times, strict=True)
        ]
        midi.instruments.append(instrument)
    buffer = io.BytesIO()
    midi.write(buffer)
    return buffer.getvalue()


def _conductor(notes: Notes) -> pretty_midi.PrettyMIDI:
    """An empty PrettyMIDI that carries the piece's tempo map and meters."""
    events: list[tuple[int, int, mido.MetaMessage]] = []
    for meter in notes.meters:
        message = mido.MetaMessage(
            "time_signature", numerator=meter.numerator, denominator=meter.denominator
        )
        events.append((_ticks(meter.start), 0, message))
    for start, bpm in zip(notes.tempo.start, notes.tempo.bpm, strict=True):
        events.append((_ticks(start), 1, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))))
    events.sort(key=lambda event: event[:2])
    track = mido.MidiTrack()
    now = 0
    for tick, _, message in events:
        track.append(message.copy(time=tick - now))
        now = tick
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
    file.tracks.append(track)
    end = _ticks(notes.end) + TICKS_PER_QUARTER
    track.append(mido.MetaMessage("end_of_track", time=max(0, end - now)))
    return pretty_midi.PrettyMIDI(mido_object=file)


def _ticks(quarters: float) -> int:
    return round(float(quarters) * TICKS_PER_QUARTER)


def _to_seconds(midi: pretty_midi.PrettyMIDI, quarters: Floats) -> list[float]:
    return [midi.tick_to_time(_ticks(q)) for q in quarters]
