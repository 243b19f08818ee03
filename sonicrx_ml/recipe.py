"""How a composer is trained, as plain values: data, model, optimiser, machine.

Apart from the training itself, so that a wrong option is refused before torch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sonicrx_ml.architecture import ModelConfig


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """What is read, how often each piece is drawn, and how conditions are hidden in training."""

    prepared: str
    """Folder that `scripts/prepare_data.py` wrote."""
    etudes: int = 0
    """Compose and prepare so many etudes first, where the folder is not there yet."""
    source_weights: dict[str, float] = field(default_factory=dict)
    """Times a piece of a source is drawn against one of a source that is not named (1)."""
    calm: float = 1.0
    """0 draws pieces by length and source; 1 favours calm, tonal, few-voice music."""
    drop_attribute: float = 0.2
    """Chance that one attribute is free, each on its own, per sample; that one family is; and that
    all families are. The bars that remain are only free with everything."""
    drop_all: float = 0.1
    """Chance that every attribute is free."""
    reorchestrate: float = 0.3
    """Chance that a piece sounds on other families (`orchestration.rename`)."""
    divide: float = 0.4
    """Chance that its fullest family is shared out by role (`orchestration.divide`)."""
    valid_windows: int = 128
    """Windows of the validation split to use, evenly spread; 0 for all."""
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("drop_attribute", "drop_all", "reorchestrate", "divide", "calm"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.{name}={getattr(self, name)}; legal are 0 to 1")


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """AdamW with linear warmup and cosine decay, stepped by optimiser steps.

    With `decay` below 1 the rate stays at its height in between (warmup-stable-decay; Hu et al.,
    MiniCPM, 2024), so that a run can be made longer before its last phase begins: resume it with
    more `max_steps`.
    """

    lr: float
    max_steps: int
    batch_size: int
    """Windows per step and device."""
    accumulate: int = 1
    warmup_steps: int = 200
    decay: float = 1.0
    """Share of the steps after warmup, at the end, over which the rate falls."""
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
        if not 0 < self.decay <= 1:
            raise ValueError(f"optim.decay={self.decay}; legal are above 0 to 1")


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """Machine, precision, logging and checkpoint intervals."""

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    compiled: bool = False
    log_every: int = 10
    valid_every: int = 250
    """Steps between validations."""
    sample_every: int = 0
    """Steps between composed samples; 0 for none."""
    checkpoint_minutes: float = 3.0
    patience: int = 10
    """Validations without improvement before training stops."""
    max_minutes: float | None = None
    """Stop after so long, as after the last step; time before a resumption counts."""
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ValueError(
                f"trainer.max_minutes={self.max_minutes}; it must be positive, or null"
            )


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """`scripts/train.py`"""

    model: ModelConfig
    data: DataConfig
    optim: OptimConfig
    trainer: TrainerConfig
    name: str = "run"
    out: str = "checkpoints/runs"
    start: str | None = None
    """A release bundle: begin with its weights, on a schedule of one's own (fine-tuning)."""
    resume: str | None = None
    """`last`, `best` or the path of a .ckpt file: go on from there."""
    export: str | None = None
    """`last`, `best` or the path of a .ckpt file: write its release bundle and train nothing."""
    results: str | None = None
    """`results.json` of an evaluation, for the model card."""
    wandb: str = "disabled"
    """disabled, offline or online"""
    seed: int = 1

    def __post_init__(self) -> None:
        if self.wandb not in ("disabled", "offline", "online"):
            raise ValueError(f"wandb={self.wandb!r}; legal are disabled, offline, online")

    @property
    def folder(self) -> Path:
        """The run's folder: checkpoints, logs, samples and the bundle."""
        return Path(self.out) / self.name


__all__ = ["DataConfig", "OptimConfig", "TrainConfig", "TrainerConfig"]
