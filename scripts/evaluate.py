"""Evaluate a checkpoint: `python scripts/evaluate.py checkpoint=checkpoints/small suite=full`.

Or anyone's tracks: `python scripts/evaluate.py tracks=FOLDER prescriptions=FILE.json`.
"""

from pathlib import Path
from typing import Any

import torch

from sonicrx_ml import (
    audio,
    checkpoint,
    evaluation,
    evaluation_page,
    likelihood,
    likeness,
    suite,
    tables,
    tracks,
)
from sonicrx_ml.baselines import column
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.config import EvaluateConfig, entry
from sonicrx_ml.dataset import is_prepared
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.results import write
from sonicrx_ml.suite import Judged


@entry("evaluate", EvaluateConfig)
def main(cfg: EvaluateConfig) -> None:
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if cfg.players:
        audio.check()
    out, prepared = Path(cfg.out), Path(cfg.prepared)
    found: dict[str, list[Judged]] = {}
    if cfg.tracks:
        asked = Path(cfg.prescriptions) if cfg.prescriptions else None
        listed = tracks.listed(Path(cfg.tracks), asked)
        stray = tracks.unclaimed(Path(cfg.tracks), listed)
        parts: dict[str, Any] = {"about": {"tracks": cfg.tracks, "judged": len(listed)}}
        parts["about"] |= {"files without a prescription": stray} if stray else {}
        found["tracks"] = tracks.judge_all(listed, out)
        if "likeness" in cfg.what and is_prepared(prepared):
            parts["likeness"] = likeness.by_column(found, prepared, cfg.split, out)
        elif "likeness" in cfg.what:
            parts["about"] |= {"likeness": f"not measured: {prepared} is not a prepared folder"}
    else:
        bundle = checkpoint.load(cfg.checkpoint)
        check_prepared(cfg)
        parts = {"about": {"checkpoint": cfg.checkpoint, "sha256": bundle.sha256,
                           "split": cfg.split, "n-gram order": cfg.order}}  # fmt: skip
        if "nats" in cfg.what:
            parts["likelihood"] = nats(cfg, bundle)
        if "suite" in cfg.what:
            entries = suite.spread(cfg.suite.prescriptions, cfg.limit)
            parts["about"] |= {"prescriptions": len(entries), "seeds": cfg.seeds}
            found = judged(cfg, bundle, [Prescription.from_dict(entry) for entry in entries])
        if "likeness" in cfg.what:
            parts["likeness"] = likeness.by_column(found, prepared, cfg.split, out)
    parts |= evaluation.by_column(found)
    full = write(out, parts, found)
    print(tables.summary(parts))
    print(f"all figures, with intervals: {full}")
    print(f"page: {evaluation_page.write(out, cfg.players)}")


def check_prepared(cfg: EvaluateConfig) -> None:
    """Raises `ValueError` now where real music is needed and not there."""
    needed = {"nats", "likeness", "retrieved"} & {*cfg.what, *cfg.baselines}
    if needed and not is_prepared(Path(cfg.prepared)):
        raise ValueError(
            f"prepared={cfg.prepared} is not a prepared folder: scripts/prepare_data.py "
            f"out={cfg.prepared} makes it one. Without real music: "
            "'what=[suite]' 'baselines=[free,etudes]'"
        )


def nats(cfg: EvaluateConfig, bundle: Bundle) -> dict[str, Any]:
    bundle.composer.to(cfg.device)
    scores = likelihood.score(
        bundle, Path(cfg.prepared), Path(cfg.out) / "nats",
        split=cfg.split, limit=cfg.limit, order=cfg.order, batch_size=cfg.batch_size,
    )  # fmt: skip
    bundle.composer.to("cpu")
    return likelihood.estimates(scores)


def judged(
    cfg: EvaluateConfig, bundle: Bundle, asked: list[Prescription]
) -> dict[str, list[Judged]]:
    columns = [
        *(suite.composer_column(n, bundle, s, cfg.sound) for n, s in cfg.columns.items()),
        *(column(name, bundle, Path(cfg.prepared), cfg.split) for name in cfg.baselines),
    ]
    return {c.name: suite.run(asked, c, Path(cfg.out), cfg.seeds, cfg.batch_size)
            for c in columns}  # fmt: skip


if __name__ == "__main__":
    main()
