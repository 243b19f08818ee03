"""What is seen and heard of a training run: logs, checkpoints, progress, and composed samples.

A run's folder holds `best.ckpt` and `last.ckpt`, `log/version_N/metrics.csv` (one version per start
or resumption), `samples/step-NNNNNN.{mid,flac,png}`, and at its end `bundle`.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sonicrx_ml import audio
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import compose
from sonicrx_ml.curve import Curve
from sonicrx_ml.loaders import CorpusData
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import Notes
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.recipe import TrainConfig
from sonicrx_ml.training import METRIC, Training

SHOWN = ("train/loss", "train/mfu", "train/tokens_per_s", "valid/loss", METRIC)
SAMPLE = Prescription(
    duration_s=20,
    tempo=Curve.of(72),
    key="C",
    mode="major",
    energy=Curve.of([0.5, 0.2]),
    seed=1,
)


def loggers(cfg: TrainConfig) -> list[Logger]:
    """CSV always, wandb where it is asked for."""
    found: list[Logger] = [CSVLogger(cfg.folder, name="log")]
    if cfg.wandb != "disabled":
        cfg.folder.mkdir(parents=True, exist_ok=True)
        offline = cfg.wandb == "offline"
        found.append(WandbLogger(cfg.name, cfg.folder, offline=offline, project="sonicrx"))
    return found


def callbacks(cfg: TrainConfig) -> list[L.Callback]:
    """The best and the latest checkpoint, early stopping, progress, and samples."""
    trainer = cfg.trainer
    found: list[L.Callback] = [
        ModelCheckpoint(cfg.folder, "best", monitor=METRIC, enable_version_counter=False),
        ModelCheckpoint(
            cfg.folder,
            "last",
            train_time_interval=timedelta(minutes=trainer.checkpoint_minutes),
            enable_version_counter=False,
        ),
        Interrupted(cfg.folder / "last.ckpt"),
        EarlyStopping(METRIC, patience=trainer.patience),
        Bar(trainer.log_every) if sys.stdout.isatty() else Lines(),
    ]
    if trainer.sample_every:
        found.append(Listen(cfg.folder / "samples", trainer.sample_every))
    return found


class Bar(RichProgressBar):
    """A live bar over the steps of the whole run, for a terminal.

    Its figures are read every `every` steps: each reading waits for the device.
    """

    def __init__(self, every: int) -> None:
        super().__init__(every)
        self.figures: dict[str, int | str | float | dict[str, float]] = {}

    @property
    def total_train_batches(self) -> int:
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        if trainer.global_step % self.refresh_rate == 0:
            metrics = trainer.callback_metrics
            self.figures = {name: float(metrics[name]) for name in SHOWN if name in metrics}
        return self.figures


class Interrupted(L.Callback):
    """Keeps a run that is stopped by hand, and says how to go on with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, KeyboardInterrupt) or not trainer.global_step:
            return
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            print(f"stopped at step {trainer.global_step}: resume=last goes on", flush=True)


class Lines(L.Callback):
    """One line per validation, for a log file."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            figures = {
                name: float(value)
                for name, value in sorted(trainer.callback_metrics.items())
                if name in SHOWN
            }
            text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"step {trainer.global_step}/{trainer.max_steps}  {text}", flush=True)


class Listen(L.Callback):
    """Every so many steps, compose `SAMPLE` with the weights of now and leave it as files.

    Composing takes a copy of the composer on the CPU and draws from generators of its own, so
    training is the same with and without it. Raises `ValueError` at once where
    $SONICRX_SOUNDFONT names no SoundFont.
    """

    def __init__(self, folder: Path, every: int) -> None:
        audio.check()
        self.folder, self.every = folder, every
        self.done = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        step = trainer.global_step
        if step % self.every or step == self.done or not trainer.is_global_zero:
            return
        self.done = step
        assert isinstance(pl_module, Training)
        bundle = _bundle_of_now(trainer, pl_module)
        paths = render_sample(bundle, self.folder / f"step-{step:06d}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("sample/notes", [str(paths["png"])], step=step)
                logger.log_audio("sample/sound", [str(paths["flac"])], step=step)


def _bundle_of_now(trainer: L.Trainer, training: Training) -> Bundle:
    data = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
    assert isinstance(data, CorpusData)
    return Bundle.of(training.composer, data.vocabulary, data.bins)


def render_sample(bundle: Bundle, path: Path) -> dict[str, Path]:
    """Compose `SAMPLE` to .mid, .flac and .png files beside `path`; returns them by suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (composition,) = compose([SAMPLE], bundle)
    paths = {kind: path.with_suffix(f".{kind}") for kind in ("mid", "flac", "png")}
    paths["mid"].write_bytes(composition.midi)
    sound, _ = master(audio.render(composition.midi))
    audio.save(sound, paths["flac"], {"title": path.name})
    roll_image(composition.notes, paths["png"])
    return paths


def roll_image(notes: Notes, path: Path) -> None:
    """A piano roll as PNG: seconds to the right, MIDI pitch upwards, one colour per program."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="seconds", ylabel="MIDI pitch")
    start, stop = notes.tempo.seconds(notes.onset), notes.tempo.seconds(notes.release)
    _, colour = np.unique(notes.program, return_inverse=True)
    axes.barh(
        notes.pitch, stop - start, left=start, height=0.8, color=[f"C{c % 10}" for c in colour]
    )
    figure.savefig(path, dpi=100)
