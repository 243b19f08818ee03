"""Evaluate a checkpoint: `python scripts/evaluate.py checkpoint=checkpoints/small what=[suite]`.

Or anyone's tracks: `python scripts/evaluate.py tracks=FOLDER prescriptions=FILE.json`.
"""

from pathlib import Path
from typing import Any

import torch

from sonicrx_ml import baselines, checkpoint, evaluation, likelihood, likeness, tables, tracks
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.config import EvaluateConfig, entry
from sonicrx_ml.evaluation import Judged
from sonicrx_ml.prescription import Prescription


@entry("evaluate", EvaluateConfig)
def main(cfg: EvaluateConfig) -> None:
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    results: dict[str, Any] = {"about": {}}
    if cfg.tracks:
        listed = Path(cfg.prescriptions) if cfg.prescriptions else None
        add_columns(results, {"tracks": tracks.judge_folder(Path(cfg.tracks), listed)})
        results["about"] |= {"tracks": cfg.tracks}
    else:
        bundle = checkpoint.load(cfg.checkpoint)
        results["about"] |= {"checkpoint": cfg.checkpoint, "sha256": bundle.sha256}
        if "nats" in cfg.what:
            add_nats(results, cfg, bundle)
        if "suite" in cfg.what:
            add_suite(results, cfg, bundle)
    print(tables.write(Path(cfg.out), results).read_text())


def add_nats(results: dict[str, Any], cfg: EvaluateConfig, bundle: Bundle) -> None:
    bundle.composer.to(cfg.device)
    scores = likelihood.score(
        bundle, Path(cfg.prepared), Path(cfg.out) / "nats",
        split=cfg.split, limit=cfg.limit, order=cfg.order, batch_size=cfg.batch_size,
    )  # fmt: skip
    bundle.composer.to("cpu")
    results["about"] |= {"split": cfg.split, "n-gram order": cfg.order}
    results["likelihood"] = likelihood.estimates(scores)


def add_suite(results: dict[str, Any], cfg: EvaluateConfig, bundle: Bundle) -> None:
    prepared = Path(cfg.prepared)
    entries = evaluation.spread(cfg.suite.prescriptions, cfg.limit)
    suite = [Prescription.from_dict(entry) for entry in entries]
    results["about"] |= {"prescriptions": len(suite), "seeds": cfg.seeds}
    columns = [
        evaluation.composer_column(name, bundle, sampling, cfg.sound)
        for name, sampling in cfg.columns.items()
    ] + [baselines.column(name, bundle, prepared, cfg.split) for name in cfg.baselines]
    found = {
        column.name: evaluation.run(suite, column, Path(cfg.out), cfg.seeds, cfg.batch_size)
        for column in columns
    }
    add_columns(results, found)
    if "likeness" in cfg.what:
        real = likeness.yardstick(prepared, cfg.split, Path(cfg.out))
        measured = {name: likeness.measure(judged, real) for name, judged in found.items()}
        results["likeness"] = {"real": likeness.yardstick_figures(real)} | measured


def add_columns(results: dict[str, Any], found: dict[str, list[Judged]]) -> None:
    results["conformance"] = {name: evaluation.figures(judged) for name, judged in found.items()}
    results["effects"] = {name: evaluation.effects(judged) for name, judged in found.items()}
    results["failures"] = {name: evaluation.failures(judged) for name, judged in found.items()}


if __name__ == "__main__":
    main()
