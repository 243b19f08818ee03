"""The auditory anchor: a listener's motif, fitted to a track, and found again in one.

A motif is kept free of key and tempo: scale degrees from the tonic (0; 7 is the octave above), what
they are altered by in semitones, and times in felt beats. It returns in every track of a listener,
which is experimental: there is no direct trial; the nearest is cue-controlled relaxation.

In the other mode every note keeps its degree. In another meter a quarter stays a quarter and bar
lines fall where they fall: contour, proportions and beats stay, accents move. (Scaled so that bars
met bars, by 3/4 or 4/3, motifs fell between the beats, and the music around them was less likely.)

Found again is what has the same intervals, to the semitone, and the same proportions of time, in
one instrument, above whatever else that instrument plays meanwhile: whatever the key, tempo, meter
or mode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonicrx_ml.curve import is_number
from sonicrx_ml.notes import DRUMS, Floats, Ints, Meter, Notes

#: Semitones of the degrees from the tonic.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
#: Felt beats of a bar.
BEATS = {"4/4": 4, "3/4": 3, "2/4": 2, "6/8": 2}
#: Quarters of a felt beat.
FELT = {"4/4": Fraction(1), "3/4": Fraction(1), "2/4": Fraction(1), "6/8": Fraction(3, 2)}

LEAST_BARS, MOST_BARS = 2, 8
LEAST_NOTES, MOST_NOTES = 4, 64
NOTES_PER_BAR = 12  # at most: what a voice can sing at a calm tempo [E]
WIDEST = 24  # semitones from the lowest to the highest note: fits every family's range
CLOSEST = 1 / 4  # felt beats between onsets
PARTS = 12  # of a felt beat, to which times are rounded
OFF = 1.4  # factor an inter-onset interval may be off: times rounded to the grid are, 3:2 is not
DEFAULT_AT = (0.0, 0.5, 1.0)  # the start, the middle, before the end
MOST_PLACES = 20
MOST_SHOWN = 40  # characters of what is no motif
_PHRASE = 4  # bars


@dataclass(frozen=True, kw_only=True, slots=True)
class Motif:
    """A melody of 2 to 8 bars. Raises `ValueError` that names the field and what is legal."""

    mode: str
    meter: str
    bars: int
    degree: tuple[int, ...]
    """Steps of the scale from the tonic."""
    alter: tuple[int, ...]
    """Semitones that each note is raised by."""
    onset: tuple[float, ...]
    """Felt beats from the first bar line."""
    length: tuple[float, ...]
    """Felt beats; none reaches beyond the next onset."""

    def __post_init__(self) -> None:
        _check_choice("mode", self.mode, tuple(SCALES))
        _check_choice("meter", self.meter, tuple(BEATS))
        _check_whole("bars", self.bars, LEAST_BARS, MOST_BARS)
        for name in ("degree", "alter", "onset", "length"):
            object.__setattr__(self, name, _column(name, getattr(self, name), len(self.degree)))
        if not LEAST_NOTES <= len(self.degree) <= MOST_NOTES:
            _refuse(f"{len(self.degree)} notes", f"{LEAST_NOTES} to {MOST_NOTES}")
        self._check_times()
        if (wide := int(np.ptp(self.semitones(self.mode)))) > WIDEST:
            _refuse(f"range of {wide} semitones", f"up to {WIDEST}")

    def _check_times(self) -> None:
        onset, end, beats = np.array(self.onset), self.bars * BEATS[self.meter], BEATS[self.meter]
        gap, first = np.diff(onset, append=end), onset[0]
        if not 0 <= first < beats or onset[-1] >= end - 1e-3:
            _refuse(f"notes from beat {first:g} to {onset[-1]:g}", f"a first bar and up to {end}")
        if gap[:-1].min() < CLOSEST - 1e-3 or gap[:-1].max() > beats + 1e-3:
            least, most = gap[:-1].min(), gap[:-1].max()
            _refuse(f"{least:g} to {most:g} beats between onsets", f"1/4 to a bar ({beats})")
        if np.bincount((onset / beats).astype(int)).max() > NOTES_PER_BAR:
            _refuse(f"more than {NOTES_PER_BAR} notes in a bar", f"up to {NOTES_PER_BAR}")
        over = np.array(self.length) > gap + 1e-3
        if over.any() or min(self.length) <= 0:
            _refuse("a note of no length, or that sounds into the next", "one note at a time")

    def semitones(self, mode: str) -> Ints:
        """Semitones of the notes from the tonic in a mode, by degree.

        What is altered to the form that its degree has in that mode (the raised seventh of minor,
        in major) is not altered twice.
        """
        degree, alter = np.array(self.degree), np.array(self.alter)
        own, other = np.array(SCALES[self.mode])[degree % 7], np.array(SCALES[mode])[degree % 7]
        altered = np.where(own + alter == other, 0, alter) if mode != self.mode else alter
        found: Ints = other + altered + 12 * (degree // 7)
        return found

    def scale(self, meter: str) -> Fraction:
        """Felt beats of the track for one of the motif's: both have the same note value."""
        return FELT[self.meter] / FELT[meter]

    def bars_in(self, meter: str) -> int:
        """Bars of a track that it takes, the last of them perhaps in part."""
        return -(-self.bars * BEATS[self.meter] * self.scale(meter) // BEATS[meter])

    def times(self, meter: str) -> tuple[Floats, Floats]:
        """Onsets and lengths in quarters of a track in a meter."""
        numerator, denominator = map(int, meter.split("/"))
        quarters = float(self.scale(meter)) * Meter(0.0, numerator, denominator).felt_beat
        return np.array(self.onset) * quarters, np.array(self.length) * quarters

    def __str__(self) -> str:
        return f"a motif of {self.bars} bars in {self.meter}, {self.mode} (id {self.id})"

    @property
    def id(self) -> str:
        """Eight hex digits of its hash, to tell it from another listener's."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def of(cls, value: object) -> Motif:
        """A motif, its plain values or its JSON. Raises `ValueError`: nothing else is legal."""
        if isinstance(value, Motif):
            return value
        if isinstance(value, str | bytes):
            text = value
            try:
                value = json.loads(text)
            except ValueError:
                shown = repr(text[:MOST_SHOWN]) + "…" * (len(text) > MOST_SHOWN)
                raise ValueError(f"anchor {shown}; legal is the JSON of a motif") from None
        names = [field.name for field in fields(cls)]
        legal = f"legal is an object of {', '.join(names)}"
        if not isinstance(value, Mapping):
            raise ValueError(f"anchor {value!r}; {legal}")
        if set(value) != set(names):
            raise ValueError(f"anchor with {', '.join(map(str, value))}; {legal}")
        return cls(**value)


def _refuse(shown: str, legal: str) -> None:
    raise ValueError(f"anchor {shown}; legal is {legal}")


def _check_choice(name: str, value: object, legal: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in legal:
        _refuse(f"{name} {value!r}", ", ".join(legal))


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        _refuse(f"{name} {value!r}", f"a whole number {low} to {high}")


def _column(name: str, values: object, length: int) -> tuple[Any, ...]:
    """Whole numbers for pitches, times rounded to a part of a beat; `length` of them."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != length:
        _refuse(f"{name} {values!r}", "a list with an entry for each note")
    assert isinstance(values, Sequence)
    whole = name in ("degree", "alter")
    low, high = {"degree": (-21, 21), "alter": (-1, 1)}.get(name, (0, 64))
    for value in values:
        if whole:
            _check_whole(name, value, low, high)
        elif not is_number(value) or not low <= value <= high:
            _refuse(f"{name} {value!r}", f"{low} to {high} felt beats")
    return tuple(values if whole else (round(round(v * PARTS) / PARTS, 4) for v in values))


# ---------------------------------------------------------------- where it sounds


def check_places(value: object) -> tuple[float, ...]:
    """Asked times. Raises `ValueError` with what is legal."""
    if is_number(value):
        value = (value,)
    legal = f"1 to {MOST_PLACES} rising times: up to 1 a share of the music, above it seconds"
    good = isinstance(value, Sequence) and not isinstance(value, str)
    if not good or not all(is_number(v) and v >= 0 for v in value):  # type: ignore[attr-defined]
        raise ValueError(f"anchor_at {value!r}; legal are {legal}")
    times = tuple(float(v) for v in value)  # type: ignore[attr-defined]
    if not 1 <= len(times) <= MOST_PLACES or any(np.diff(times) <= 0):
        raise ValueError(f"anchor_at {list(times)!r}; legal are {legal}")
    return times


def shares(at: tuple[float, ...] | None, motif: Motif, meter: str, bars: int) -> tuple[float, ...]:
    """The asked times, or as many of the default ones as there is room for.

    bars : of the music; the last stays free. Raises `ValueError` where there is no room.
    """
    each = motif.bars_in(meter)
    room = (bars - 1) // each
    if room < (1 if at is None else len(at)):
        raise ValueError(
            f"anchor of {each} bars in {meter} sounds {room} times in {bars} bars of music, the "
            f"last of which is kept free; legal is to ask for no more, or for a longer track"
        )
    return at or {1: DEFAULT_AT[:1], 2: DEFAULT_AT[::2]}.get(room, DEFAULT_AT)


def first_bars(at: Sequence[float], seconds: Floats, each: int) -> Ints:
    """The bar in which it begins at each asked time; places do not overlap.

    The nearest bar, or the first of a phrase where that is the next to it. `seconds` are the starts
    of the bars, and last the end of the music. Raises `ValueError` for a time after the music, and
    for one before the anchor before it is half over.
    """
    music = seconds[-1]
    asked = np.array([t * music if t <= 1 else t for t in at])
    if asked.max() > music:
        raise ValueError(f"anchor_at {asked.max():g} s; legal is up to the music's {music:g} s")
    nearest = np.abs(seconds[:-1] - asked[:, None]).argmin(axis=1)
    phrase = (nearest + _PHRASE // 2) // _PHRASE * _PHRASE
    start = np.where(np.abs(phrase - nearest) <= 1, phrase, nearest)
    for i in range(1, len(start)):
        if 2 * (nearest[i] - nearest[i - 1]) < each:
            raise ValueError(
                f"anchor_at {at[i]:g} is {asked[i]:.4g} s, before the anchor at "
                f"{asked[i - 1]:.4g} s is half over; legal are times further apart: up to 1 a "
                "share of the music, above it seconds"
            )
        start[i] = max(start[i], start[i - 1] + each)
    latest = len(seconds) - 2 - each  # the last bar stays free
    for i in reversed(range(len(start))):
        start[i] = latest = min(start[i], latest)
        latest -= each
    return start


# ---------------------------------------------------------------- found again


def find(motif: Motif, notes: Notes) -> Floats:
    """Onsets (quarters, rising) of the first notes of all places where a motif sounds.

    It may be in either mode. An instrument's notes below the motif's lowest do not count against
    it; its other notes do.
    """
    found: list[float] = []
    for program in np.unique(notes.program[notes.program != DRUMS]):
        line = notes.select(notes.program == program).sort()
        for mode in SCALES:
            found.extend(_found_in(line, motif.semitones(mode), np.array(motif.onset)))
    return np.unique(np.array(found))


def _found_in(line: Notes, semitones: Ints, onset: Floats) -> list[float]:
    """In the notes of one instrument."""
    found: list[float] = []
    for lowest in np.unique(line.pitch):
        above = line.pitch >= lowest
        if above.sum() >= len(semitones):
            rows = _matches(line.pitch[above] - lowest, line.onset[above], semitones, onset)
            found.extend(line.onset[above][: len(rows)][rows])
    return found


def _matches(pitch: Ints, time: Floats, semitones: Ints, onset: Floats) -> NDArray[np.bool_]:
    """At which notes the motif begins."""
    pitches = sliding_window_view(pitch, len(semitones))
    same = (pitches == semitones - semitones.min()).all(axis=1)
    between = np.diff(sliding_window_view(time, len(onset)), axis=1)
    wanted = np.diff(onset) / (onset[-1] - onset[0])
    share = between / np.maximum(between.sum(axis=1, keepdims=True), 1e-9)
    near: NDArray[np.bool_] = (share <= OFF * wanted + 1e-6) & (share >= wanted / OFF - 1e-6)
    return same & near.all(axis=1)
