"""Hydra: the schema of the command line, and nothing else.

YAML groups hold values, dataclasses hold the schema. A config is turned into plain dataclasses once
(`to_object`); no config value ever names code to run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from sonicrx_ml.dataset import DataConfig
from sonicrx_ml.model import ModelConfig
from sonicrx_ml.prescription import CONTROLS
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.training import OptimConfig

T = TypeVar("T")


@dataclass(kw_only=True)
class CorpusConfig:
    """A folder of MIDI to prepare."""

    root: str = MISSING
    manifest: str | None = None
    tiers: list[str] = field(default_factory=lambda: ["a"])


@dataclass(kw_only=True)
class PrepareConfig:
    """`scripts/prepare_data.py`"""

    data: CorpusConfig = field(default_factory=CorpusConfig)
    out: str = MISSING
    workers: int | None = None


@dataclass(kw_only=True)
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
    checkpoint_minutes: float = 3.0
    patience: int = 10
    """Validations without improvement before training stops."""
    threads: int | None = None


@dataclass(kw_only=True)
class TrainConfig:
    """`scripts/train.py`"""

    model: ModelConfig = MISSING
    data: DataConfig = MISSING
    optim: OptimConfig = MISSING
    trainer: TrainerConfig = MISSING
    name: str = "run"
    out: str = "checkpoints/runs"
    resume: str | None = None
    """`last`, or a path of a .ckpt file."""
    wandb: str = "disabled"
    """disabled, offline or online"""
    seed: int = 1


_Controls = make_dataclass("_Controls", [(name, Any, None) for name in CONTROLS], kw_only=True)


@dataclass(kw_only=True)
class SampleConfig(_Controls):  # type: ignore[misc, valid-type]
    """`scripts/sample.py`: every control of a prescription, and how to make it a track."""

    prescription: str | None = None
    """A JSON file to start from; controls given beside it replace its own."""
    n: int = 1
    """Takes, with seeds counted up from `seed`."""
    checkpoint: str = "checkpoints/small"
    out: str = "tracks"
    engine: str = "auto"
    font: str | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


def register() -> None:
    """Make the schemas known to Hydra as `prepare_schema`, `train_schema`, ..."""
    store = ConfigStore.instance()
    store.store("prepare_schema", PrepareConfig)
    store.store("train_schema", TrainConfig)
    store.store("sample_schema", SampleConfig)


def plain(config: DictConfig, kind: type[T]) -> T:
    """The config as plain dataclasses. Raises `ValueError` where a required value is missing."""
    missing = OmegaConf.missing_keys(config)
    if missing:
        raise ValueError(f"required and not given: {', '.join(sorted(missing))}")
    result: Any = OmegaConf.to_object(config)
    assert isinstance(result, kind)
    return result
