"""Batches of a training run: from a prepared folder to Lightning's loaders.

The training stream is endless and numbered: batch n of a run is the same whatever the number of
loader processes and of interruptions, so a resumed run is the uninterrupted one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from sonicrx_ml.dataset import (
    Batch,
    EvaluationWindows,
    TrainingWindows,
    load_labels,
    load_prepared,
    load_split,
    piece_weights,
)
from sonicrx_ml.recipe import DataConfig


class TrainingStream(IterableDataset[Batch]):
    """The run's batches from number `first` on, those of one rank out of `ranks`, for ever."""

    def __init__(
        self, windows: TrainingWindows, batch_size: int, first: int, rank: int, ranks: int
    ) -> None:
        self.windows, self.batch_size = windows, batch_size
        self.first, self.rank, self.ranks = first, rank, ranks

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in itertools.count(self.first + start, step):
            at = (number * self.ranks + self.rank) * self.batch_size
            yield self.windows.collate([self.windows[at + i] for i in range(self.batch_size)])


class Shard(Dataset[dict[str, Any]]):
    """One rank's share of the validation windows; all are equally long, filled up with padding."""

    def __init__(self, windows: EvaluationWindows, rank: int, ranks: int) -> None:
        self.windows, self.rank, self.ranks = windows, rank, ranks

    def __len__(self) -> int:
        return math.ceil(len(self.windows) / self.ranks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        at, last = index * self.ranks + self.rank, len(self.windows) - 1
        sample = self.windows[min(at, last)]
        return sample if at <= last else sample | {"ids": np.zeros_like(sample["ids"])}


class CorpusData(L.LightningDataModule):
    """Loaders over a prepared folder; resuming goes on where the training stream stopped.

    size : tokens of a window; batch_size : windows of a batch and device; accumulate : batches of a
    step.
    """

    def __init__(
        self, data: DataConfig, size: int, batch_size: int, accumulate: int, seed: int
    ) -> None:
        super().__init__()
        self.data, self.size, self.seed = data, size, seed
        self.batch_size, self.accumulate = batch_size, accumulate
        self.folder = Path(data.prepared)
        self.vocabulary, self.bins = load_prepared(self.folder)

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        windows = TrainingWindows(
            load_split(self.folder, "train"),
            self.vocabulary,
            self.bins,
            self.size,
            piece_weights(load_labels(self.folder, "train"), self.data),
            self.data,
            self.seed,
        )
        first = self.trainer.global_step * self.accumulate
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        stream = TrainingStream(windows, self.batch_size, first, rank, ranks)
        return DataLoader(stream, None, **self._loading())

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        rows = load_split(self.folder, "valid")
        limit = self.data.valid_windows
        windows = EvaluationWindows(rows, self.vocabulary, self.bins, self.size, limit=limit)
        assert self.trainer is not None
        return DataLoader(
            Shard(windows, self.trainer.global_rank, self.trainer.world_size),
            batch_size=self.batch_size,
            collate_fn=windows.collate,
            **self._loading(),
        )

    def _loading(self) -> dict[str, Any]:
        """How both loaders work; from pinned memory a GPU is fed while it computes."""
        assert self.trainer is not None
        return {
            "num_workers": self.data.workers,
            "persistent_workers": self.data.workers > 0,
            "pin_memory": self.trainer.strategy.root_device.type == "cuda",
        }
