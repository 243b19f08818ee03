"""Training: loss, optimiser, schedule and run, as Lightning parts.

The figures logged are `loss` (nats per token), `nats_per_note` (nats summed over tokens over the
number of notes, comparable across tokenisers), `lr` (of the step just taken), `tokens_per_s` (of
all devices, padding left out), `gflops` (that, times the operations of a token: see `token_flops`)
and `mfu` (their share of the devices' peak, see `peak_flops`).
"""

from __future__ import annotations

import ctypes
import logging
import math
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import datasets
import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch._dynamo import maybe_mark_dynamic

from sonicrx_ml import checkpoint
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.dataset import Batch
from sonicrx_ml.labels import Bins, condition_sizes
from sonicrx_ml.loaders import CorpusData
from sonicrx_ml.model import Composer
from sonicrx_ml.recipe import OptimConfig, TrainConfig
from sonicrx_ml.tokens import Vocabulary

METRIC = "valid/nats_per_note"
CLOCK_S = 5.0  # seconds between two readings of the speed
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
#: Operations/s in bf16 with fp32 accumulation, dense, by NVIDIA's data sheets: SXM modules.
DENSE_BF16 = {
    "NVIDIA A100-SXM4-40GB": 312e12, "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12, "NVIDIA H200": 989.4e12,
}  # fmt: skip


class Training(L.LightningModule):
    """The composer under training.

    seen : tokens predicted and seconds trained so far, over all devices and resumed runs, and the
        last validation; NaN is not known.
    before : the runs whose weights this one began with, the first one first (see `start_from`).
    """

    def __init__(self, composer: Composer, optim: OptimConfig, compiled: bool = False) -> None:
        super().__init__()
        self.composer = composer
        self.optim = optim
        self._nats = torch.compile(_nats) if compiled else _nats
        self.seen = {"tokens": 0.0, "seconds": 0.0, METRIC: math.nan}
        self.before: list[dict[str, Any]] = []
        self.peak = math.nan
        """Operations/s of one device at best; measured as training starts."""
        self._totals = torch.zeros(3, dtype=torch.float64)
        self._start_clock()

    def _start_clock(self) -> None:
        self._clock, self._tokens = time.monotonic(), torch.zeros((), dtype=torch.int64)

    def _read_clock(self) -> tuple[int, float]:
        """Tokens and seconds since the clock was started, which is started again."""
        tokens = int(self._tokens) * self.trainer.world_size  # waits for the device
        found = tokens, time.monotonic() - self._clock
        self.seen["tokens"] += found[0]
        self.seen["seconds"] += found[1]
        self._start_clock()
        return found

    def nats(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy summed over the batch's tokens, and the number of tokens."""
        maybe_mark_dynamic(batch.conditions_BKA, 1)  # compiled once for any number of bars
        return self._nats(self.composer, batch)

    def on_train_start(self) -> None:
        self.peak = peak_flops(self.composer.config, self.device, str(self.trainer.precision))
        self._start_clock()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        total, tokens = self.nats(batch)
        loss = total / tokens
        self._tokens = self._tokens.to(tokens.device) + tokens  # read later: nothing waits for it
        self.log("train/loss", loss.detach())
        self.log("train/nats_per_note", total.detach() / batch.notes)
        # As tensors of the CPU: a number would be copied to the device, which waits for it. Nothing
        # is logged with `prog_bar`: Lightning reads that back at every step (see `monitor.Bar`).
        self.log("step", torch.tensor(float(self.global_step)))  # what the loggers count by
        self.log("train/lr", torch.tensor(self.trainer.optimizers[0].param_groups[0]["lr"]))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if time.monotonic() - self._clock > CLOCK_S:
            tokens, seconds = self._read_clock()
            flops = tokens * token_flops(self.composer)
            self.log("train/tokens_per_s", tokens / seconds)
            self.log("train/gflops", flops / seconds / 1e9)
            self.log("train/mfu", flops / seconds / (self.peak * self.trainer.world_size))

    def on_validation_epoch_start(self) -> None:
        self._read_clock()
        self._totals.zero_()

    def validation_step(self, batch: Batch, index: int) -> None:
        total, tokens = self.nats(batch)
        self._totals += torch.tensor([float(total), float(tokens), float(batch.notes)])

    def on_validation_epoch_end(self) -> None:
        gathered = self.all_gather(self._totals.to(self.device))
        assert isinstance(gathered, Tensor)
        totals = gathered.reshape(-1, 3).sum(dim=0)
        self.log("step", float(self.global_step))
        self.log("valid/loss", totals[0] / totals[1])
        self.log(METRIC, totals[0] / totals[2])
        self.seen[METRIC] = float(totals[0] / totals[2])
        self._start_clock()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._read_clock()
        checkpoint["seen"] = self.seen | {"hardware": _hardware(self.device)}
        checkpoint["before"] = self.before

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seen = {name: checkpoint["seen"][name] for name in self.seen}
        self.before = checkpoint.get("before", [])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optim = self.optim
        matrices = {id(p) for n, p in self.composer.named_parameters()
                    if p.dim() == 2 and n.startswith("blocks")}  # fmt: skip
        groups = [
            {"params": [p for p in self.parameters() if (id(p) in matrices) == decayed],
             "weight_decay": optim.weight_decay if decayed else 0.0}
            for decayed in (True, False)
        ]  # fmt: skip
        # On a GPU with mixed precision Lightning does not clip the gradients of the fused one.
        fused = True if self.device.type == "cpu" else None
        adamw = torch.optim.AdamW(groups, lr=optim.lr, betas=(0.9, optim.beta2), fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(adamw, self._lr_share)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _lr_share(self, step: int) -> float:
        optim = self.optim
        if step < optim.warmup_steps:
            return (step + 1) / optim.warmup_steps
        falling = optim.decay * (optim.max_steps - optim.warmup_steps)
        done = 1 - (optim.max_steps - step) / falling
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        return optim.final_lr + (1 - optim.final_lr) * wave


def _nats(composer: Composer, batch: Batch) -> tuple[Tensor, Tensor]:
    logits_BTV = composer(batch.ids_BT, batch.bar_BT, batch.conditions_BKA)
    targets = batch.targets_BT.flatten()
    total = F.cross_entropy(
        logits_BTV.flatten(0, 1).float(), targets, ignore_index=0, reduction="sum"
    )
    return total, (targets != 0).sum()


def token_flops(composer: Composer) -> int:
    """Operations that a token costs in training: 6 a parameter, and 12 for each of a layer's widths
    and of the tokens attended to, whether masked or not (Chowdhery et al. 2022, appendix B).
    The parameters that a bar passes once for all its tokens are left out.
    """
    config = composer.config
    attention = 12 * config.layers * config.width * config.context
    of_bars = ("inject", "conditions")
    passed = [p for name, p in composer.named_parameters() if not any(b in name for b in of_bars)]
    return 6 * sum(p.numel() for p in passed) + attention


def new_composer(model: ModelConfig, vocabulary: Vocabulary, bins: Bins) -> Composer:
    return Composer(model, len(vocabulary), condition_sizes(bins))


def peak_flops(model: ModelConfig, device: torch.device, precision: str) -> float:
    """Operations/s that a device does at best in a precision of Lightning's.

    Published for bf16 on the GPUs of `DENSE_BF16`. Elsewhere that of the fastest of some products
    with a block's widest matrix, on as many threads as the run has.
    """
    if device.type == "cuda" and "bf16" in precision:
        published = DENSE_BF16.get(torch.cuda.get_device_name(device))
        if published is not None:
            return published
    half = torch.bfloat16 if "bf16" in precision else torch.float16
    dtype = half if "16" in precision else torch.float32
    rows = 512 if device.type == "cpu" else 16_384  # soon done: other work may interrupt it
    x = torch.ones(rows, model.width, dtype=dtype, device=device)
    weight = torch.ones(2 * model.hidden, model.width, dtype=dtype, device=device)
    fastest = math.inf
    for _ in range(50):
        begin = time.monotonic()
        F.linear(x, weight)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        fastest = min(fastest, time.monotonic() - begin)
    return 2 * x.numel() * len(weight) / fastest


# ---------------------------------------------------------------- a run


def fit(cfg: TrainConfig, loggers: Sequence[Logger], callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Train, from the start or from `cfg.resume`, and leave `last.ckpt` in the run's folder.

    So does a run that is interrupted (`monitor.callbacks`). Raises `ValueError` where another run
    of that name is in the folder.
    """
    resume = find_checkpoint(cfg.folder, cfg.resume) if cfg.resume else None
    check_folder(cfg)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    datasets.disable_progress_bars()
    _keep_memory()
    L.seed_everything(cfg.seed, verbose=False)
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    optim = cfg.optim
    data = CorpusData(cfg.data, cfg.model.context, optim.batch_size, optim.accumulate, cfg.seed)
    composer = new_composer(cfg.model, data.vocabulary, data.bins)
    training = Training(composer, optim, cfg.trainer.compiled)
    if cfg.start and not resume:
        start_from(training, checkpoint.load(cfg.start), data.vocabulary, data.bins)
    training.save_hyperparameters(asdict(cfg))
    trainer = new_trainer(cfg, loggers, callbacks)
    with warnings.catch_warnings():
        _ignore_known_warnings(cfg.trainer.accelerator)
        trainer.fit(training, data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(cfg.folder / "last.ckpt")
    return trainer


def check_folder(cfg: TrainConfig) -> None:
    """Raises `ValueError` where training would replace another run's checkpoints."""
    kept = sorted(path.name for path in cfg.folder.glob("*.ckpt"))
    resume = find_checkpoint(cfg.folder, cfg.resume) if cfg.resume else None
    if kept and (resume is None or resume.resolve().parent != cfg.folder.resolve()):
        raise ValueError(
            f"{cfg.folder} has a run ({', '.join(kept)}): resume=last goes on with it, another "
            "name= begins anew"
        )


def _keep_memory() -> None:
    """Have glibc keep what is freed, for as long as the process lasts.

    Other C libraries are left alone. To give it back at every step and be given it anew, page by
    page, takes a tenth of the time of `model=small` on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes


def start_from(training: Training, bundle: Bundle, vocabulary: Vocabulary, bins: Bins) -> None:
    """Give a run the weights of a bundle, and what it knows of the runs before.

    Raises `ValueError` where the bundle's size, vocabulary or bins are not those of the run.
    """
    run = (asdict(training.composer.config), vocabulary.fingerprint, bins.fingerprint)
    its = (asdict(bundle.size), bundle.vocabulary.fingerprint, bundle.bins.fingerprint)
    for name, mine, found in zip(("model", "vocabulary", "bin edges"), run, its, strict=True):
        if mine != found:
            raise ValueError(f"start: the bundle's {name} {found}; legal is the run's own {mine}")
    training.composer.load_state_dict(bundle.composer.state_dict())
    facts = bundle.config.get("training", {})
    told = {name: facts.get(name) for name in ("steps", "windows", "tokens", "hours", "mode_told")}
    training.before = [*facts.get("before", []), {"sha256": bundle.sha256, **told}]


def _ignore_known_warnings(accelerator: str) -> None:
    if accelerator == "cpu":  # where windows are cut much faster than they are learned from
        warnings.filterwarnings("ignore", ".*does not have many workers")
    # A run that is resumed finds its own checkpoints there.
    warnings.filterwarnings("ignore", ".*exists and is not empty")
    # Of norms in half precision: compiled, they are one kernel all the same.
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
    # Lightning 2.6 asks torch 2.11 for a class that is renamed.
    warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)


def new_trainer(
    cfg: TrainConfig, loggers: Sequence[Logger], callbacks: Sequence[L.Callback]
) -> L.Trainer:
    return L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        strategy=cfg.trainer.strategy,
        precision=cfg.trainer.precision,  # type: ignore[arg-type]  # a string of the command line
        max_steps=cfg.optim.max_steps,
        max_time=timedelta(minutes=cfg.trainer.max_minutes)
        if cfg.trainer.max_minutes is not None
        else None,
        accumulate_grad_batches=cfg.optim.accumulate,
        gradient_clip_val=cfg.optim.clip,
        val_check_interval=cfg.trainer.valid_every * cfg.optim.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=cfg.trainer.log_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders share out the windows themselves
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        logger=list(loggers),
        callbacks=list(callbacks),
        default_root_dir=cfg.folder,
    )


def find_checkpoint(folder: Path, name: str) -> Path:
    """`last` or `best` of a run's folder, or a path. Raises `ValueError` where there is none."""
    path = folder / f"{name}.ckpt" if name in ("last", "best") else Path(name)
    if not path.is_file():
        found = sorted(p.name for p in folder.glob("*.ckpt")) or ["no .ckpt file"]
        raise ValueError(f"there is no {path}; {folder} has {', '.join(found)}")
    return path


def best_checkpoint(trainer: L.Trainer) -> Path:
    """Where the run's best validation is kept, or its last step where none was run."""
    kept = getattr(trainer.checkpoint_callback, "best_model_path", "")
    return Path(kept or f"{trainer.default_root_dir}/last.ckpt")


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(device)}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
