"""Train a composer: `python scripts/train.py model=tiny data=etudes`, `experiment=small`, ..."""

from dataclasses import asdict
from pathlib import Path

import hydra
import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from omegaconf import DictConfig

from sonicrx_ml.config import TrainConfig, plain, register
from sonicrx_ml.shards import prepare_etudes
from sonicrx_ml.training import CorpusData, Training, new_composer

register()


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(config: DictConfig) -> None:
    cfg = plain(config, TrainConfig)
    L.seed_everything(cfg.seed, verbose=False)
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    folder = Path(cfg.out) / cfg.name
    if cfg.data.etudes:
        prepare_etudes(Path(cfg.data.prepared), cfg.data.etudes)
    data = CorpusData(cfg.data, cfg.optim, cfg.model.context, cfg.seed)
    training = Training(
        new_composer(cfg.model, data.vocabulary, data.bins), cfg.optim, cfg.trainer.compiled
    )
    training.save_hyperparameters(asdict(cfg))
    trainer = L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        strategy=cfg.trainer.strategy,
        precision=cfg.trainer.precision,
        max_steps=cfg.optim.max_steps,
        accumulate_grad_batches=cfg.optim.accumulate,
        gradient_clip_val=cfg.optim.clip,
        val_check_interval=cfg.trainer.valid_every * cfg.optim.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=cfg.trainer.log_every,
        num_sanity_val_steps=0,
        logger=loggers(cfg, folder),
        callbacks=callbacks(cfg, folder),
        default_root_dir=folder,
    )
    resume = folder / "last.ckpt" if cfg.resume == "last" else cfg.resume
    trainer.fit(training, data, ckpt_path=resume, weights_only=True)


def loggers(cfg: TrainConfig, folder: Path) -> list[Logger]:
    found: list[Logger] = [CSVLogger(folder, name="", version="")]
    if cfg.wandb != "disabled":
        found.append(
            WandbLogger(cfg.name, folder, offline=cfg.wandb == "offline", project="sonicrx")
        )
    return found


def callbacks(cfg: TrainConfig, folder: Path) -> list[L.Callback]:
    from datetime import timedelta

    return [
        ModelCheckpoint(
            folder, "best", monitor="valid/nats_per_note", enable_version_counter=False
        ),
        ModelCheckpoint(
            folder,
            "last",
            train_time_interval=timedelta(minutes=cfg.trainer.checkpoint_minutes),
            enable_version_counter=False,
        ),
        EarlyStopping("valid/nats_per_note", patience=cfg.trainer.patience),
        RichProgressBar(),
    ]


if __name__ == "__main__":
    main()
