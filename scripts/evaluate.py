"""Evaluate a checkpoint: `python scripts/evaluate.py checkpoint=checkpoints/small what=[suite]`."""

from pathlib import Path
from typing import Any

import torch

from sonicrx_ml import checkpoint, evaluation, likelihood, tables
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.config import EvaluateConfig, entry
from sonicrx_ml.prescription import Prescription


@entry("evaluate", EvaluateConfig)
def main(cfg: EvaluateConfig) -> None:
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    bundle = checkpoint.load(cfg.checkpoint)
    results: dict[str, Any] = {"about": {"checkpoint": cfg.checkpoint, "sha256": bundle.sha256}}
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
    entries = evaluation.spread(cfg.suite.prescriptions, cfg.limit)
    suite = [Prescription.from_dict(entry) for entry in entries]
    results["about"] |= {"prescriptions": len(suite), "seeds": cfg.seeds}
    for name, sampling in cfg.columns.items():
        column = evaluation.composer_column(name, bundle, sampling, cfg.sound)
        judged = evaluation.run(suite, column, Path(cfg.out), cfg.seeds, cfg.batch_size)
        results.setdefault("conformance", {})[name] = evaluation.figures(judged)
        results.setdefault("effects", {})[name] = evaluation.effects(judged)
        results.setdefault("failures", {})[name] = evaluation.failures(judged)


if __name__ == "__main__":
    main()
