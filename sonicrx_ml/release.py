"""From a training checkpoint to its release bundle: weights, facts, card, and authors to name."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonicrx_ml import card, checkpoint
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.dataset import load_prepared
from sonicrx_ml.labels import MODE_TOLD
from sonicrx_ml.model import Composer
from sonicrx_ml.recipe import DataConfig
from sonicrx_ml.training import METRIC, new_composer

ATTRIBUTION = ("source", "licence", "author", "pieces", "titles")
_PLACES = (
    "out",
    "start",
    "resume",
    "export",
    "results",
)  # on the machine of the run, of no use elsewhere
_ASKS_NOTHING = ("cc0-1.0", "cc0", "public domain")  # in lower case


def release(path: Path, folder: Path, results: Path | None = None) -> Path:
    """Write the release bundle of a training checkpoint, with its model card.

    results : `results.json` of an evaluation, shown on the card.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    run = state["hyper_parameters"]
    data = DataConfig(**run["data"])
    prepared = Path(data.prepared)
    vocabulary, bins = load_prepared(prepared)
    composer = new_composer(ModelConfig(**run["model"]), vocabulary, bins)
    composer.load_state_dict(_weights(state["state_dict"]))
    facts = _facts(state, composer) | {"data": card.describe_data(data)}
    text = card.model_card(facts, bins, json.loads(results.read_text()) if results else None)
    checkpoint.export(folder, composer, vocabulary, bins, facts, text, attribution(prepared))
    return folder


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "composer."
    return {name.removeprefix(prefix): weight for name, weight in state.items()}


def _facts(state: Mapping[str, Any], composer: Composer) -> dict[str, Any]:
    """What a checkpoint knows about its run, as JSON values; None is not recorded."""
    run, seen = state["hyper_parameters"], state["seen"]
    windows = state["global_step"] * run["optim"]["batch_size"] * run["optim"]["accumulate"]
    windows *= run["trainer"]["devices"]
    return {
        "run": {name: value for name, value in run.items() if name not in _PLACES},
        "before": state.get("before", []),
        "mode_told": MODE_TOLD,
        "parameters": sum(p.numel() for p in composer.parameters()),
        "steps": state["global_step"],
        "windows": windows,
        "tokens": _known(seen["tokens"]),
        "hours": _known(seen["seconds"], 1 / 3600),
        "valid_nats_per_note": _known(seen[METRIC]),
        "hardware": seen["hardware"],
        "versions": card.versions(),
    }


def _known(value: float | None, scale: float = 1.0) -> float | None:
    return None if value is None or math.isnan(value) else round(value * scale, 4)


def attribution(prepared: Path) -> str | None:
    """Who made what a composer learned from, as CSV; None where the prepared folder does not say.

    One row per source, licence and author of the training split, with the number of pieces and,
    unless the licence asks for nothing (CC0, public domain), their titles, joined by " | ".
    """
    path = prepared / "attribution.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    titles: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        maker = row["source"], row["licence"], row["composer"]
        titles.setdefault(maker, []).append(row["title"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ATTRIBUTION)
    writer.writerows(
        (*maker, len(of_maker), _named(maker[1], of_maker))
        for maker, of_maker in sorted(titles.items())
    )
    return text.getvalue()


def _named(licence: str, titles: list[str]) -> str:
    free = licence.lower() in _ASKS_NOTHING
    return "" if free else " | ".join(sorted(set(titles) - {""}))
