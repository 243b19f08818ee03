"""Prepare a folder of MIDI: `python scripts/prepare_data.py data.root=my/midi out=data/mine`."""

from pathlib import Path

from sonicrx_ml.config import PrepareConfig, entry
from sonicrx_ml.shards import prepare


@entry("prepare", PrepareConfig)
def main(cfg: PrepareConfig) -> None:
    manifest = Path(cfg.data.manifest) if cfg.data.manifest else None
    out = Path(cfg.out)
    run = prepare(Path(cfg.data.root), out, manifest, cfg.data.tiers, cfg.workers)["run"]
    print((out / "report.md").read_text())
    print("{files} files in {seconds:.1f} s: {files_per_s:.0f} files/s".format(**run))


if __name__ == "__main__":
    main()
