"""Pieces as token streams: MidiTok's REMI vocabulary, encoded and decoded by whole columns.

The stream of a bar is `Bar TimeSig` and then, for each onset in order, `Position` followed by its
notes, each `[Program] Pitch Duration`, by family and rising pitch. It is stock REMI with one
difference: a `Program` that repeats the one before it in the same bar is left out (`expand` puts it
back), which saves about a token a note. A stream ends with `EOS`.

Encoding with MidiTok itself takes about 25 ms a file; here it is a handful of array operations,
and the tests hold the two equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.canonical import GRID, HIGHEST, LONGEST, LOWEST, METERS, Gridded
from sonicrx_ml.notes import Ints, Meter
from sonicrx_ml.palette import FAMILIES

if TYPE_CHECKING:
    import miditok

# `Vocabulary.build().fingerprint`, known without MidiTok, which takes seconds to import.
FINGERPRINT = "2760d1fb20f1906c"
MIDDLE_VELOCITY = 64  # tokens carry no dynamics

Ids = NDArray[np.uint16]

# Token types, in the order of the grammar.
PAD, BOS, EOS, BAR, METER, POSITION, PROGRAM, PITCH, DURATION = range(9)
_TYPES = ("PAD", "BOS", "EOS", "Bar", "TimeSig", "Position", "Program", "Pitch", "Duration")
FOLLOWS: Mapping[int, tuple[int, ...]] = {
    BOS: (BAR,),
    BAR: (METER,),
    METER: (POSITION, BAR, EOS),
    POSITION: (PROGRAM, PITCH),
    PROGRAM: (PITCH,),
    PITCH: (DURATION,),
    DURATION: (POSITION, PROGRAM, PITCH, BAR, EOS),
    EOS: (PAD,),
    PAD: (PAD,),
}
"""Token types that may come after each type."""


def remi() -> miditok.REMI:
    """The stock MidiTok tokenizer whose vocabulary we use."""
    import miditok  # composing reads a vocabulary, and needs no tokenizer

    config = miditok.TokenizerConfig(
        pitch_range=(LOWEST, HIGHEST + 1),
        beat_res={(0, 4): GRID, (4, LONGEST): 2},
        special_tokens=["PAD", "BOS", "EOS"],
        use_velocities=False,
        use_programs=True,
        use_pitchdrum_tokens=False,
        programs=sorted(FAMILIES.values()),
        use_time_signatures=True,
        time_signature_range={low: list(high) for low, high in METERS.items()},
        encode_ids_split="no",
    )
    return miditok.REMI(config)


@dataclass(frozen=True)
class Vocabulary:
    """Which id is which: `kind[id]` is a token type, `value[id]` its meaning.

    value : pitch number, duration and position in grid positions, family index, meter index.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("a vocabulary names a token twice")
        strange = [name for name in self.names if name.partition("_")[0] not in _TYPES]
        if strange:
            raise ValueError(f"token {strange[0]!r}; legal types are {', '.join(_TYPES)}")

    @classmethod
    def build(cls) -> Vocabulary:
        vocabulary = remi().vocab
        assert isinstance(vocabulary, dict)
        return cls(tuple(sorted(vocabulary, key=vocabulary.__getitem__)))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def kind(self) -> Ints:
        return np.array([_TYPES.index(name.partition("_")[0]) for name in self.names])

    @cached_property
    def value(self) -> Ints:
        return np.array([self._value(name) for name in self.names])

    @cached_property
    def meters(self) -> tuple[str, ...]:
        return tuple(n.split("_")[1] for n in self.names if n.startswith("TimeSig"))

    @cached_property
    def bar_sizes(self) -> Ints:
        """Grid positions of a bar, by the value of a `TimeSig` token and on for every value."""
        return self._of_meters([_meter(text).numerator * GRID for text in self.meters])

    @cached_property
    def whole_notes(self) -> Ints:
        """Grid positions of a whole note, likewise."""
        return self._of_meters([_meter(text).denominator * GRID for text in self.meters])

    def _of_meters(self, sizes: Sequence[int]) -> Ints:
        found = np.zeros(int(self.value.max()) + 1, dtype=np.int64)
        found[: len(sizes)] = sizes
        return found

    def _value(self, name: str) -> int:
        kind, _, text = name.partition("_")
        if kind in ("Pitch", "Position"):
            return int(text)
        if kind == "Program":
            return list(FAMILIES.values()).index(int(text))
        if kind == "TimeSig":
            return self.meters.index(text)
        if kind == "Duration":
            beats, part, resolution = map(int, text.split("."))
            return beats * GRID + part * GRID // resolution
        return 0

    @cached_property
    def lookup(self) -> dict[int, Ints]:
        """For each token type, an array from value to id (0 where there is none)."""
        tables = {}
        for kind in range(len(_TYPES)):
            ids = np.flatnonzero(self.kind == kind)
            table = np.zeros(int(self.value[ids].max(initial=0)) + 1, dtype=np.int64)
            table[self.value[ids]] = ids
            tables[kind] = table
        return tables

    @cached_property
    def ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    @property
    def pad(self) -> int:
        return self.ids["PAD_None"]

    @property
    def bos(self) -> int:
        return self.ids["BOS_None"]

    @property
    def eos(self) -> int:
        return self.ids["EOS_None"]

    @property
    def bar(self) -> int:
        return self.ids["Bar_None"]

    def meter(self, meter: Meter | str) -> int:
        """Raises `ValueError` for a meter that has no token."""
        try:
            return self.ids[f"TimeSig_{meter}"]
        except KeyError:
            raise ValueError(f"meter {meter}; legal are {', '.join(self.meters)}") from None

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the names in order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(list(self.names), indent=0))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Raises `ValueError` where the file is not what `save` writes."""
        names = json.loads(path.read_text())
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path.name}: a vocabulary is a JSON list of token names")
        return cls(tuple(names))


def encode(grid: Gridded, vocabulary: Vocabulary) -> tuple[Ids, Ints]:
    """Tokens of a piece, `EOS` last, and the index of each bar's `Bar` token.

    Every candidate token has a place in a (2 bars + 4 notes)-slot layout; absent ones are squeezed
    out, so there is no loop over notes.
    """
    n_bars, n_notes = len(grid.meters), len(grid)
    to_id = vocabulary.lookup
    new_bar = np.diff(grid.bar, prepend=-1) > 0
    new_onset = new_bar | (np.diff(grid.position, prepend=-1) != 0)
    new_family = new_bar | (np.diff(grid.family, prepend=-1) != 0)
    slots = np.zeros((n_notes, 4), dtype=np.int64)
    slots[:, 0] = np.where(new_onset, to_id[POSITION][grid.position], 0)
    slots[:, 1] = np.where(new_family, to_id[PROGRAM][grid.family], 0)
    slots[:, 2] = to_id[PITCH][grid.pitch]
    slots[:, 3] = to_id[DURATION][grid.length]
    heads = np.array([[vocabulary.bar, vocabulary.meter(meter)] for meter in grid.meters])
    notes_before = np.searchsorted(grid.bar, np.arange(n_bars))
    stream = np.insert(slots.ravel(), np.repeat(4 * notes_before, 2), heads.reshape(-1))
    ids = np.append(stream[stream != vocabulary.pad], vocabulary.eos)
    return ids.astype(np.uint16), np.flatnonzero(ids == vocabulary.bar)


def decode(ids: NDArray[np.integer], vocabulary: Vocabulary) -> Gridded:
    """The piece that a stream spells, with or without `BOS` and `EOS`; bars may be overfull.

    Raises `ValueError` where the stream is not grammatical: a token out of order, time that goes
    back, a note without its `Program`, a stream cut within a bar's head or a note.
    """
    kind, value = vocabulary.kind[ids], vocabulary.value[ids]
    _check_order(kind)
    at = np.flatnonzero(kind == PITCH)
    meters = tuple(_meter(vocabulary.meters[v]) for v in value[kind == METER])
    bars = np.cumsum(kind == BAR) - 1
    position, family = (_latest(kind, value, wanted)[at] for wanted in (POSITION, PROGRAM))
    if (family < 0).any():
        raise ValueError("a note comes before the first Program token of its bar")
    if ((np.diff(position) < 0) & (np.diff(bars[at]) == 0)).any():
        raise ValueError("a Position token goes back in time")
    velocity = np.full(len(at), MIDDLE_VELOCITY)
    return Gridded(bars[at], position, value[at + 1], value[at], family, velocity, meters)


def _check_order(kind: Ints) -> None:
    follows = np.zeros((len(_TYPES), len(_TYPES)), dtype=bool)
    for before, after in FOLLOWS.items():
        follows[before, list(after)] = True
    if len(kind) == 0 or kind[0] not in (BOS, BAR):
        raise ValueError("a stream begins with a BOS or Bar token")
    wrong = np.flatnonzero(~follows[kind[:-1], kind[1:]])
    if len(wrong):
        first, second = (_TYPES[k] for k in kind[wrong[0] : wrong[0] + 2])
        raise ValueError(f"token {wrong[0] + 1}: {second} after {first}")
    if kind[-1] not in (METER, DURATION, EOS, PAD):
        raise ValueError(f"a stream ends with {_TYPES[kind[-1]]}")


def _latest(kind: Ints, value: Ints, wanted: int) -> Ints:
    """At every token, the value of the last `wanted` token of the same bar, -1 where none yet."""
    index = np.arange(len(kind))
    found = np.maximum.accumulate(np.where(kind == wanted, index, -1))
    bar = np.maximum.accumulate(np.where(kind == BAR, index, -1))
    return np.where(found > bar, value[found], -1)


def _meter(text: str) -> Meter:
    numerator, denominator = map(int, text.split("/"))
    return Meter(0.0, numerator, denominator)


def expand(ids: NDArray[np.integer], vocabulary: Vocabulary) -> Ids:
    """The same stream as stock REMI: a `Program` before every `Pitch`."""
    kind, value = vocabulary.kind[ids], vocabulary.value[ids]
    family = _latest(kind, value, PROGRAM)
    bare = np.flatnonzero((kind == PITCH) & (np.roll(kind, 1) != PROGRAM))
    programs = vocabulary.lookup[PROGRAM][family[bare]]
    return np.insert(np.asarray(ids), bare, programs).astype(np.uint16)
