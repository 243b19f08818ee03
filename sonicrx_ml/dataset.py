"""Prepared shards -> batches: weighted windows for training, every token once for evaluation.

A sample is a pure function of (seed, index): the piece, the window, which conditions are dropped
and how the piece is re-orchestrated. So any run can start at any index, on any number of workers
or ranks, and see what an uninterrupted run would have seen.

Shapes: B batch, T tokens, K bars, A conditions: the attributes of `labels.CONDITIONS`, the bars
that remain, and each timbre family (`SILENT` or `SOUNDS`: whether a note of it begins in the bar).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sonicrx_ml.canonical import Gridded
from sonicrx_ml.labels import (
    CONDITIONS,
    FREE,
    SILENT,
    SOUNDS,
    Bins,
    remaining_bucket,
    told_mode,
)
from sonicrx_ml.notes import Floats, Ints
from sonicrx_ml.orchestration import divide, rename
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.recipe import DataConfig
from sonicrx_ml.tokens import BAR, PITCH, PROGRAM, Ids, Vocabulary, decode, encode

if TYPE_CHECKING:  # imported where they are used: composing needs no tables
    import datasets
    import pyarrow as pa

ALIGNED = 8  # bars of a batch are a multiple of it: products with them are fast on a GPU
EDGE = 0.1  # share of training windows that are a piece's opening, and its ending


class Batch(NamedTuple):
    """One batch. `targets_BT` are the tokens to predict; padding is `PAD` (0) in both."""

    ids_BT: Tensor
    targets_BT: Tensor
    bar_BT: Tensor
    conditions_BKA: Tensor
    notes: Tensor
    """Notes among the targets of the whole batch."""


def load_prepared(folder: Path) -> tuple[Vocabulary, Bins]:
    """Vocabulary and bins of a prepared folder. Raises `ValueError` where it is none."""
    _check_prepared(folder)
    return Vocabulary.load(folder / "vocabulary.json"), Bins.load(folder / "bins.json")


def is_prepared(folder: Path) -> bool:
    return (folder / "bins.json").is_file()


def _check_prepared(folder: Path) -> None:
    if not is_prepared(folder):
        raise ValueError(
            f"data.prepared={str(folder)!r} is not a prepared folder; "
            f"scripts/prepare_data.py out={folder} makes it one"
        )


def load_split(prepared: Path, split: str) -> datasets.Dataset:
    """The rows of a split, memory-mapped, as numpy. Raises `ValueError` where there are none."""
    import datasets
    import pyarrow.parquet as pq

    _check_prepared(prepared)
    paths = sorted((prepared / "shards").glob(f"{split}-*.parquet"))
    files = [str(path) for path in paths if pq.read_metadata(path).num_rows]
    if not files:
        raise ValueError(
            f"{prepared} has no piece in its {split} split: prepare more files, or name the splits "
            "in a manifest"
        )
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(prepared / "cache")
    )
    return rows.with_format("numpy")


def load_labels(prepared: Path, split: str) -> pa.Table:
    """The label table's rows of a split, in the order of `load_split`."""
    import pyarrow.parquet as pq

    return pq.read_table(prepared / "labels.parquet", filters=[("split", "=", split)])


def piece_weights(labels: pa.Table, config: DataConfig) -> Floats:
    """Chance of drawing each piece, summing to 1: tokens^0.75 x source weight x calm^`calm`.

    calm = exp(-(p/2 + d + c/0.1)) / 2^f, with p the mean notes sounding above 4, d the mean onsets
    per beat above 2, c the mean chromaticism above 0.03 and f the families above 3. Pieces whose
    bar lines mean nothing (no density) weigh nothing.

    Raises `ValueError` where a weight is for a source that no piece is of, and where all weigh
    nothing.
    """
    import pyarrow.compute as pc

    sources = labels["source"].to_pylist()
    _check_sources(config.source_weights, sources)
    polyphony, density, chromaticism, length = (
        labels[name].to_numpy().astype(float)
        for name in ("polyphony", "density", "chromaticism", "n_tokens")
    )
    families = pc.list_value_length(labels["families"]).to_numpy()
    excess = np.maximum(0, polyphony - 4) / 2 + np.maximum(0, density - 2)
    excess += np.maximum(0, chromaticism - 0.03) / 0.1
    calm = np.exp(-excess) / 2.0 ** np.maximum(0, families - 3)
    source = np.array([config.source_weights.get(name, 1.0) for name in sources])
    weight = np.nan_to_num(length**0.75 * source * calm**config.calm)
    if weight.sum() <= 0:
        raise ValueError("every piece of the training split has weight 0: check source_weights")
    return weight / weight.sum()


def _check_sources(weights: Mapping[str, float], sources: Sequence[str]) -> None:
    for name in weights:
        if name not in sources:
            raise ValueError(
                f"data.source_weights: {name!r} is no source of the training split; legal are "
                + ", ".join(sorted(set(sources)))
            )


class Pieces:
    """The lists of a split's pieces, by piece and column: in memory, found without a copy.

    `datasets` formats a row in a third of a millisecond, more than all else that a window takes.
    Rows of a split, all of them and in order; piece : 0 to their number less 1.
    """

    def __init__(self, rows: datasets.Dataset, names: Sequence[str]) -> None:
        if rows._indices is not None:
            raise ValueError("rows are selected or shuffled; legal are those of `load_split`")
        columns = {name: rows.data[name].combine_chunks() for name in names}
        self.lists = {
            name: (column.offsets.to_numpy(), column.values.to_numpy())
            for name, column in columns.items()
        }
        self.count = len(rows)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, piece: int) -> dict[str, NDArray[Any]]:
        return {
            name: values[offsets[piece] : offsets[piece + 1]]
            for name, (offsets, values) in self.lists.items()
        }

    def lengths(self, name: str) -> Ints:
        """(pieces,): how long the lists of a column are."""
        return np.diff(self.lists[name][0])


class Windows(Dataset[dict[str, Any]]):
    """What training and evaluation share: a window of a piece with the conditions of its bars."""

    def __init__(self, rows: datasets.Dataset, vocabulary: Vocabulary, bins: Bins, size: int):
        self.pieces = Pieces(rows, ("tokens", "bar_start", "bar_key", *CONDITIONS))
        self.vocabulary, self.bins, self.size = vocabulary, bins, size

    def window(
        self, row: Mapping[str, Any], start: int, change: Callable[[Gridded], Gridded] | None = None
    ) -> dict[str, Any]:
        """Tokens `start` to `start + size` of BOS + piece, and the bars they belong to.

        change : what is made of the notes of those bars first; `start` must be 0 or a bar line.
        """
        bounds = np.append(row["bar_start"], len(row["tokens"]))
        begin, end = max(0, start - 1), min(start + self.size, bounds[-1])
        first = int(np.searchsorted(bounds, begin, side="right")) - 1
        last = int(np.searchsorted(bounds, end))
        tokens = row["tokens"][bounds[first] : bounds[last]]
        if change is not None:
            tokens = self._changed(tokens, change)
        bar = np.cumsum(self.vocabulary.kind[tokens] == BAR) - 1
        values = {name: row[name][first:last] for name in CONDITIONS}
        values["mode"] = told_mode(values["mode"], row["bar_key"][first:last])
        remaining = remaining_bucket(len(row["bar_start"]) - np.arange(first, last))
        conditions = np.column_stack(
            [self.bins.digitize(values), remaining, self._families(tokens, bar, last - first)]
        )
        shown = slice(begin - bounds[first], begin - bounds[first] + self.size + (start > 0))
        head = [] if start else [self.vocabulary.bos]
        ids = np.concatenate([head, tokens[shown]]).astype(np.int64)
        bar = np.concatenate([np.zeros(len(head), dtype=np.int64), bar[shown]])
        return {"ids": ids, "bar": bar, "conditions": conditions[: bar[-1] + 1]}

    def _changed(self, tokens: Ids, change: Callable[[Gridded], Gridded]) -> Ids:
        changed, _ = encode(change(decode(tokens, self.vocabulary)), self.vocabulary)
        return changed if tokens[-1] == self.vocabulary.eos else changed[:-1]

    def _families(self, tokens: Ids, bar: Ints, bars: int) -> Ints:
        """Whether each family sounds, (K, families)."""
        programs = self.vocabulary.kind[tokens] == PROGRAM
        found = np.full((bars, len(FAMILIES)), SILENT)
        found[bar[programs], self.vocabulary.value[tokens[programs]]] = SOUNDS
        return found

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        ids = _pad([sample["ids"] for sample in samples], self.size + 1)
        notes = self.vocabulary.kind[ids[:, 1:]] == PITCH
        bars = max(len(sample["conditions"]) for sample in samples)
        bars = -(-bars // ALIGNED) * ALIGNED
        conditions = [
            np.pad(s["conditions"], ((0, bars - len(s["conditions"])), (0, 0))) for s in samples
        ]
        return Batch(
            torch.from_numpy(ids[:, :-1].copy()),
            torch.from_numpy(ids[:, 1:].copy()),
            torch.from_numpy(_pad([sample["bar"] for sample in samples], self.size + 1)[:, :-1]),
            torch.from_numpy(np.stack(conditions)),
            torch.tensor(int(notes.sum())),
        )


class TrainingWindows(Windows):
    """Random windows without end; sample i depends on (seed, i) alone."""

    def __init__(
        self,
        rows: datasets.Dataset,
        vocabulary: Vocabulary,
        bins: Bins,
        size: int,
        weights: Floats,
        config: DataConfig,
        seed: int,
    ) -> None:
        super().__init__(rows, vocabulary, bins, size)
        self.config, self.seed = config, seed
        self.cumulative = np.cumsum(weights)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, index))
        piece = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.pieces) - 1)
        row = self.pieces[piece]
        sample = self.window(row, self._start(row, rng), self._change(rng))
        self._hide(sample["conditions"], rng)
        return sample

    def _start(self, row: Mapping[str, Any], rng: np.random.Generator) -> int:
        """A bar line from which the window is nearly full; 0 is before `BOS`.

        The opening and the ending are drawn more often than they come (`EDGE` each): they are rare
        in a long piece, and every piece composed has both.
        """
        starts = np.concatenate([[0], row["bar_start"][1:] + 1])
        latest = max(0, len(row["tokens"]) + 1 - self.size)
        ending = min(int(np.searchsorted(starts, latest)), len(starts) - 1)
        draw = rng.random()
        if draw < 2 * EDGE:
            return 0 if draw < EDGE else int(starts[ending])
        return int(rng.choice(starts[: ending + 1]))

    def _change(self, rng: np.random.Generator) -> Callable[[Gridded], Gridded] | None:
        """How the piece is re-orchestrated, if at all."""
        divided, renamed = rng.random(2) < (self.config.divide, self.config.reorchestrate)
        if not divided and not renamed:
            return None

        def change(grid: Gridded) -> Gridded:
            grid = divide(grid, rng) if divided else grid
            return rename(grid, rng) if renamed else grid

        return change

    def _hide(self, conditions_KA: Ints, rng: np.random.Generator) -> None:
        """Per-sample dropout of each condition on its own, of all families, or of everything.

        The bars that remain are only hidden with everything: every plan knows them.
        """
        count = conditions_KA.shape[1]
        families = count - len(FAMILIES)
        hidden = np.less(rng.random(count), self.config.drop_attribute)
        hidden[families:] |= rng.random() < self.config.drop_attribute
        hidden[families - 1] = False
        hidden |= rng.random() < self.config.drop_all
        conditions_KA[:, hidden] = FREE


class EvaluationWindows(Windows):
    """Every token of every piece predicted once; windows lie end to end, so most begin mid-bar.

    limit : use so many windows, evenly spread over the split (0: all).
    free : every condition free.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        vocabulary: Vocabulary,
        bins: Bins,
        size: int,
        limit: int = 0,
        free: bool = False,
    ) -> None:
        super().__init__(rows, vocabulary, bins, size)
        lengths = self.pieces.lengths("tokens").tolist()
        spans = [(i, start) for i, n in enumerate(lengths) for start in range(0, n, size)]
        keep = np.linspace(0, len(spans) - 1, limit).astype(int) if 0 < limit < len(spans) else None
        self.spans = spans if keep is None else [spans[k] for k in keep]
        self.free = free

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> dict[str, Any]:
        piece, start = self.spans[index]
        sample = self.window(self.pieces[piece], start)
        if self.free:
            sample["conditions"][:] = FREE
        return sample


def _pad(rows: list[Ints], size: int) -> Ints:
    padded = np.zeros((len(rows), size), dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
