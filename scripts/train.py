"""Train a composer: `python scripts/train.py model=tiny data=etudes`, `experiment=small`, ...

`resume=last` goes on with a run; `export=best` writes the release bundle of a run's checkpoint.
"""

from pathlib import Path

from sonicrx_ml.config import entry
from sonicrx_ml.recipe import TrainConfig


@entry("train", TrainConfig)
def main(cfg: TrainConfig) -> None:
    # What takes long to import waits until the options are known to be legal.
    from sonicrx_ml.monitor import callbacks, loggers
    from sonicrx_ml.release import release
    from sonicrx_ml.shards import prepare_etudes
    from sonicrx_ml.training import best_checkpoint, check_folder, find_checkpoint, fit

    if cfg.export:
        chosen = find_checkpoint(cfg.folder, cfg.export)
    else:
        check_folder(cfg)
        if cfg.data.etudes:
            prepare_etudes(Path(cfg.data.prepared), cfg.data.etudes)
        trainer = fit(cfg, loggers(cfg), callbacks(cfg))
        if not trainer.is_global_zero:
            return
        chosen = best_checkpoint(trainer)
    results = Path(cfg.results) if cfg.results else None
    print(f"bundle: {release(chosen, cfg.folder / 'bundle', results)}")


if __name__ == "__main__":
    main()
