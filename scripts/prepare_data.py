"""Prepare a folder of MIDI: `python scripts/prepare_data.py data.root=my/midi out=data/mine`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from sonicrx_ml.config import PrepareConfig, plain, register
from sonicrx_ml.shards import prepare

register()


@hydra.main(version_base="1.3", config_path="../configs", config_name="prepare")
def main(config: DictConfig) -> None:
    cfg = plain(config, PrepareConfig)
    manifest = Path(cfg.data.manifest) if cfg.data.manifest else None
    out = Path(cfg.out)
    prepare(Path(cfg.data.root), out, manifest, cfg.data.tiers, cfg.workers)
    print((out / "report.md").read_text())


if __name__ == "__main__":
    main()
