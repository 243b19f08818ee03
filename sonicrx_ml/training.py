"""Training: loss, optimiser, schedule and data, as Lightning parts.

The figures logged are `loss` (nats per token), `nats_per_note` (nats summed over tokens over the
number of notes, comparable across tokenisers), `lr` and `tokens_per_s`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from sonicrx_ml.dataset import (
    Batch,
    DataConfig,
    EvaluationWindows,
    TrainingWindows,
    condition_sizes,
    load_labels,
    load_split,
    piece_weights,
)
from sonicrx_ml.labels import Bins
from sonicrx_ml.model import Composer, ModelConfig
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.tokens import Vocabulary


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """AdamW with linear warmup and cosine decay, stepped by optimiser steps."""

    lr: float
    max_steps: int
    batch_size: int
    """Windows per step and device."""
    accumulate: int = 1
    warmup_steps: int = 200
    final_lr: float = 0.1
    """Share of `lr` at the last step."""
    weight_decay: float = 0.1
    """On matrices; not on embeddings and norms."""
    beta2: float = 0.95
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "max_steps", "batch_size", "accumulate", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"optim.{name}={getattr(self, name)}; it must be positive")
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ValueError(
                f"optim.warmup_steps={self.warmup_steps}; legal are 0 to {self.max_steps - 1}"
            )


class Training(L.LightningModule):
    """The composer under training."""

    def __init__(self, composer: Composer, optim: OptimConfig, compiled: bool = False) -> None:
        super().__init__()
        self.composer = composer
        self.optim = optim
        if compiled:
            composer.compile()
        self._clock, self._tokens = time.monotonic(), 0
        self._totals = torch.zeros(3, dtype=torch.float64)

    def nats(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy summed over the batch's tokens, and the number of tokens."""
        logits_BTV = self.composer(
            batch.ids_BT, batch.bar_BT, batch.conditions_BKA, batch.palette_BF
        )
        targets = batch.targets_BT.flatten()
        total = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(), targets, ignore_index=0, reduction="sum"
        )
        return total, (targets != 0).sum()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        total, tokens = self.nats(batch)
        loss = total / tokens
        self._tokens += int(tokens)
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/nats_per_note", total.detach() / batch.notes)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if now - self._clock > 5.0:
            rate = self._tokens / (now - self._clock) * self.trainer.world_size
            self.log("train/tokens_per_s", rate, prog_bar=True)
            self._clock, self._tokens = now, 0
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        self._totals.zero_()

    def validation_step(self, batch: Batch, index: int) -> None:
        total, tokens = self.nats(batch)
        self._totals += torch.tensor([float(total), float(tokens), float(batch.notes)])

    def on_validation_epoch_end(self) -> None:
        totals = self.all_gather(self._totals.to(self.device)).reshape(-1, 3).sum(dim=0)
        self.log("valid/loss", totals[0] / totals[1], prog_bar=True)
        self.log("valid/nats_per_note", totals[0] / totals[2], prog_bar=True)
        self._clock, self._tokens = time.monotonic(), 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optim = self.optim
        matrices = {id(p) for n, p in self.composer.named_parameters()
                    if p.dim() == 2 and n.startswith("blocks")}  # fmt: skip
        groups = [
            {"params": [p for p in self.parameters() if (id(p) in matrices) == decayed],
             "weight_decay": optim.weight_decay if decayed else 0.0}
            for decayed in (True, False)
        ]  # fmt: skip
        adamw = torch.optim.AdamW(groups, lr=optim.lr, betas=(0.9, optim.beta2), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(adamw, self._lr_share)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _lr_share(self, step: int) -> float:
        optim = self.optim
        if step < optim.warmup_steps:
            return (step + 1) / optim.warmup_steps
        done = (step - optim.warmup_steps) / max(1, optim.max_steps - optim.warmup_steps)
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return optim.final_lr + (1 - optim.final_lr) * wave


class CorpusData(L.LightningDataModule):
    """Loaders over a prepared folder. Resuming starts the training stream where it stopped."""

    def __init__(self, data: DataConfig, optim: OptimConfig, size: int, seed: int) -> None:
        super().__init__()
        self.data, self.optim, self.size, self.seed = data, optim, size, seed
        folder = Path(data.prepared)
        if not (folder / "bins.json").is_file():
            raise ValueError(f"data.prepared={data.prepared!r} is not a prepared folder")
        self.folder = folder
        self.vocabulary = Vocabulary.load(folder / "vocabulary.json")
        self.bins = Bins.load(folder / "bins.json")

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        assert self.trainer is not None
        per_step = self.optim.batch_size * self.optim.accumulate * self.trainer.world_size
        done = self.trainer.global_step * per_step
        windows = TrainingWindows(
            load_split(self.folder, "train"),
            self.vocabulary,
            self.bins,
            self.size,
            piece_weights(load_labels(self.folder, "train"), self.data),
            self.data,
            self.seed,
            count=self.optim.max_steps * per_step - done,
            offset=done,
        )
        return self._loader(windows)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        rows = load_split(self.folder, "valid")
        limit = self.data.valid_windows
        return self._loader(
            EvaluationWindows(rows, self.vocabulary, self.bins, self.size, limit=limit)
        )

    def _loader(self, windows: TrainingWindows | EvaluationWindows) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            windows,
            batch_size=self.optim.batch_size,
            collate_fn=windows.collate,
            num_workers=self.data.workers,
            persistent_workers=self.data.workers > 0,
        )


def new_composer(model: ModelConfig, vocabulary: Vocabulary, bins: Bins) -> Composer:
    return Composer(model, len(vocabulary), condition_sizes(bins), len(FAMILIES))
