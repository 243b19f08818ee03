"""Is music copied? What pieces share with others, whatever the key, the tempo and the instrument.

What is compared are lines: of each timbre family, the highest note at each onset (`style.Lines`). A
run of k notes is copied where its k - 1 pitch intervals, and the k - 2 ratios of one inter-onset
time to the one before, all occur in a row in one line of another piece. Inner voices are not heard,
and lengths and rests do not count.

Real pieces share scales, repeated notes and figures too, so a figure is read beside that of test
pieces against the same training pieces.

An `Index` is a suffix array (Manber & Myers, "Suffix arrays", SIAM Journal on Computing 22, 1993):
every place of every line, sorted by what follows, so the longest match is beside the place where a
wanted run would stand. It compares the notes themselves: there are no hashes, and no limit to the
length of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.progress import track

from sonicrx_ml.canonical import Gridded
from sonicrx_ml.dataset import load_split
from sonicrx_ml.notes import Ints
from sonicrx_ml.statistics import Estimate, bootstrap
from sonicrx_ml.style import lines
from sonicrx_ml.tokens import Vocabulary, decode

GRAM = 8  # notes
FORMAT = 1  # raise when the index changes meaning: cached ones are then made again
_END = np.iinfo(np.int64).min  # ends a wanted line, and sorts before everything
_FIELD = 25  # bits of each number of a ratio: a million quarters, `notes.MAX_QUARTERS`, in ticks


class Piece(NamedTuple):
    """A piece of a prepared corpus."""

    name: str
    group: str
    """Its work."""
    grid: Gridded


@dataclass(frozen=True, slots=True)
class Symbols:
    """Lines as steps from note to note. A step is known by its interval and its ratio.

    The first step of a line has no ratio. It marks where a line begins, so that no run crosses it.
    """

    interval: NDArray[np.int8]
    """Semitones to the next note."""
    step: Ints
    """Interval and ratio as one number; the first step of line i, and the end after it, is -i."""

    @property
    def left(self) -> Ints:
        """Steps from each one to the end of its line, itself included."""
        ends = np.flatnonzero(self.step < 0)
        return ends[np.searchsorted(ends, np.arange(len(self.interval)), side="right")] - np.arange(
            len(self.interval)
        )


@dataclass(frozen=True, slots=True)
class Index:
    """The lines of some pieces, ready to be searched."""

    names: tuple[str, ...]
    first: Ints
    """First step of each piece."""
    symbols: Symbols
    order: NDArray[np.int32]
    """The suffix array: steps, sorted by interval, then by the steps that follow."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a piece shares with the pieces of an index."""

    longest: int
    """Notes of its longest run that one of them has too."""
    source: str | None
    """Which one has it; None where nothing is shared."""
    found: int
    """Its runs of `GRAM` notes that any of them has."""
    grams: int
    """All its runs of `GRAM` notes."""

    @property
    def share(self) -> float:
        """NaN for a piece without a run of `GRAM` notes."""
        return self.found / self.grams if self.grams else np.nan


# ---------------------------------------------------------------- index


def read_pieces(prepared: Path, split: str) -> Iterator[Piece]:
    """The pieces of a split of a prepared folder. Raises `ValueError` as `load_split` does."""
    vocabulary = Vocabulary.load(prepared / "vocabulary.json")
    rows = load_split(prepared, split).select_columns(["file", "group", "tokens"])
    for row in rows:
        yield Piece(str(row["file"]), str(row["group"]), decode(row["tokens"], vocabulary))


def build(pieces: Iterable[tuple[str, Gridded]]) -> Index:
    """Index named pieces."""
    names: list[str] = []
    found: list[Symbols] = []
    for name, grid in pieces:
        names.append(name)
        found.append(_symbols(grid))
    sizes = np.array([len(symbols.interval) for symbols in found], dtype=np.int64)
    steps = np.concatenate([symbols.step[:-1] for symbols in found] + [np.zeros(1, dtype=int)])
    starts = np.flatnonzero(steps <= 0)
    steps[starts] = -np.arange(len(starts)) - 1
    intervals = np.concatenate([np.zeros(0, np.int8), *(symbols.interval for symbols in found)])
    joined = Symbols(intervals, steps)
    return Index(tuple(names), np.cumsum(sizes) - sizes, joined, _sorted(joined))


def training_index(prepared: Path, cache: Path) -> Index:
    """The index of the training split, read from the file `cache` where that is of these shards.

    13.8 million notes take about a minute and 1.5 GB to index; the file has 100 MB.
    """
    key = _key(prepared)
    if cache.is_file() and (kept := _load(cache, key)):
        return kept
    pieces = ((piece.name, piece.grid) for piece in read_pieces(prepared, "train"))
    index = build(track(pieces, "index of the training split"))
    _save(index, cache, key)
    return index


def _symbols(grid: Gridded) -> Symbols:
    line = lines(grid)
    joined = line.joined
    interval = line.pitch[joined + 1] - line.pitch[joined]
    wait = line.tick[joined + 1] - line.tick[joined]
    before = np.roll(wait, 1)
    common = np.gcd(wait, before)
    step = ((interval + 128) << 2 * _FIELD) | ((wait // common) << _FIELD) | (before // common)
    opens = np.diff(line.family[joined], prepend=-1) != 0
    step[opens] = -1 - np.arange(opens.sum())
    return Symbols(interval.astype(np.int8), np.append(step, -1 - opens.sum()))


def _sorted(symbols: Symbols) -> NDArray[np.int32]:
    """Steps by their own interval, then by the steps that follow them."""
    n = len(symbols.interval)
    key = (symbols.interval.astype(np.int64) + 128) * (n + 1)
    key += _suffix_ranks(symbols.step)[1:]
    return np.argsort(key).astype(np.int32)


def _suffix_ranks(values: Ints) -> Ints:
    """Rank of each suffix, by doubling: sorted by 1, 2, 4, ... values, and only while tied.

    The last value, and one in every stretch, is unlike all others, so ties come to an end.
    """
    order = np.argsort(values)
    rank = np.empty(len(values), dtype=np.int64)
    rank[order], tied = _ranked(values[order], np.zeros(len(values), dtype=np.int64))
    active, span = order[tied], 1
    while len(active):
        key = rank[active] * len(values) + rank[active + span]
        by_key = np.argsort(key)
        active = active[by_key]
        rank[active], tied = _ranked(key[by_key], rank[active])
        active, span = active[tied], 2 * span
    return rank


def _ranked(key: Ints, base: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """New ranks of sorted keys whose groups begin at rank `base`, and which are tied still."""
    index = np.arange(len(key))
    fresh = np.append(True, key[1:] != key[:-1])
    group = np.append(True, base[1:] != base[:-1])
    first = np.maximum.accumulate(np.where(fresh, index, 0))
    begin = np.maximum.accumulate(np.where(group, index, 0))
    return base + first - begin, ~(fresh & np.append(fresh[1:], True))


def _key(prepared: Path) -> str:
    digest = hashlib.sha256(f"{FORMAT}".encode())
    paths = [prepared / "vocabulary.json", *sorted((prepared / "shards").glob("train-*.parquet"))]
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _save(index: Index, path: Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            names=np.array(index.names),
            first=index.first,
            interval=index.symbols.interval,
            step=index.symbols.step,
            order=index.order,
        )
    partial.replace(path)


def _load(path: Path, key: str) -> Index | None:
    with np.load(path) as file:
        if str(file["key"]) != key:
            return None
        symbols = Symbols(file["interval"], file["step"])
        return Index(tuple(file["names"].tolist()), file["first"], symbols, file["order"])


# ---------------------------------------------------------------- search


def shared(grid: Gridded, index: Index) -> Shared:
    """What a piece shares with the pieces of an index."""
    symbols = _symbols(grid)
    length, nearest = _longest_matches(symbols, index)
    long_enough = symbols.left >= GRAM - 1
    found = int((length[long_enough] >= GRAM - 1).sum())
    if not length.any():
        return Shared(0, None, 0, int(long_enough.sum()))
    best = int(length.argmax())
    piece = int(np.searchsorted(index.first, index.order[nearest[best]], side="right")) - 1
    return Shared(int(length[best]) + 1, index.names[piece], found, int(long_enough.sum()))


def between(samples: Sequence[Gridded]) -> list[Shared]:
    """What each of some samples shares with the others: the less, the more diverse they are."""
    named = [(f"sample {number}", sample) for number, sample in enumerate(samples, start=1)]
    return [
        shared(sample, build(named[:number] + named[number + 1 :]))
        for number, sample in enumerate(samples)
    ]


def figures(
    found: Sequence[Shared], yardstick: Sequence[Shared], groups: ArrayLike | None = None
) -> dict[str, Estimate]:
    """Means over pieces, and how many share a longer run than 95 % of the `yardstick` do.

    groups : pieces that belong together: of one prescription, of one work.
    """
    labels = np.arange(len(found)) if groups is None else np.asarray(groups)
    longest = np.array([piece.longest for piece in found], dtype=float)
    share = np.array([piece.share for piece in found])
    told = np.isfinite(share)
    limit = np.quantile([piece.longest for piece in yardstick], 0.95)
    return {
        "longest copied run, notes": bootstrap(longest, groups=labels),
        f"{GRAM}-note runs found": bootstrap(share[told], groups=labels[told]),
        "longer run than 95 % of the yardstick": bootstrap(longest > limit, groups=labels),
    }


def _longest_matches(wanted: Symbols, index: Index) -> tuple[Ints, Ints]:
    """Steps that the longest match of each wanted step has, and its place in the suffix array.

    Binary search for all steps at once. A run stands between two neighbours of the suffix array;
    what both have in common with it, all between them have, so it is not compared again.
    """
    n = len(index.order)
    place = np.arange(len(wanted.interval))
    wanted = Symbols(wanted.interval, np.where(wanted.step < 0, _END, wanted.step))
    low, high = np.full((2, len(place)), [[-1], [n]])
    at_low, at_high = np.zeros((2, len(place)), dtype=np.int64)
    open_ = np.flatnonzero(high - low > 1)
    while len(open_):
        middle = (low[open_] + high[open_]) // 2
        known = np.minimum(at_low[open_], at_high[open_])
        common, after = _compare(wanted, place[open_], index, index.order[middle], known)
        low[open_[after]], at_low[open_[after]] = middle[after], common[after]
        high[open_[~after]], at_high[open_[~after]] = middle[~after], common[~after]
        open_ = open_[high[open_] - low[open_] > 1]
    length = np.maximum(at_low, at_high)
    return length, np.where(at_low > at_high, low, high)


def _compare(
    wanted: Symbols, mine: Ints, index: Index, theirs: NDArray[np.int32], known: Ints
) -> tuple[Ints, NDArray[np.bool_]]:
    """Steps in common from `mine` and `theirs` on, and whether mine comes after theirs."""
    theirs = theirs.astype(np.int64)
    common = known.copy()
    after = wanted.interval[mine] > index.symbols.interval[theirs]
    same = wanted.interval[mine] == index.symbols.interval[theirs]
    common[same] = np.maximum(common[same], 1)
    open_ = np.flatnonzero(same)
    while len(open_):
        left = wanted.step[mine[open_] + common[open_]]
        right = index.symbols.step[theirs[open_] + common[open_]]
        after[open_] = left > right
        open_ = open_[left == right]
        common[open_] += 1
    return common, after


__all__ = ["GRAM", "Index", "Piece", "Shared", "between", "build", "figures", "read_pieces",
           "shared", "training_index"]  # fmt: skip
