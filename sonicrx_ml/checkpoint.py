"""The release bundle: a folder with a trained composer and everything needed to use it.

    model.safetensors   weights (half precision unless told otherwise)
    config.json         sizes, conditions, edges of the bars that remain, families, fingerprints
    vocabulary.json     token names in id order
    tokenizer.json      the same vocabulary as a MidiTok tokenizer's own file
    bins.json           edges of the condition bins
    README.md           the model card
    attribution.csv     who made what it learned from (where the prepared folder names them)

Loading reads safetensors and JSON only: it never runs code, and it refuses a bundle whose parts
disagree, naming what does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sonicrx_ml import __version__, tokens
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.inference import Decoder
from sonicrx_ml.labels import REMAINING_EDGES, Bins, condition_names, condition_sizes
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.tokens import Vocabulary

if TYPE_CHECKING:  # composing needs no torch
    from sonicrx_ml.model import Composer

FORMAT = 2
T = TypeVar("T")
_FILES = ("model.safetensors", "config.json", "vocabulary.json", "bins.json")


@dataclass(frozen=True)
class Bundle:
    """A composer's weights, its vocabulary and bins; `sha256` is of the weights' file."""

    size: ModelConfig
    weights: Mapping[str, NDArray[np.float32]]
    vocabulary: Vocabulary
    bins: Bins
    sha256: str
    config: Mapping[str, Any]

    @classmethod
    def of(cls, composer: Composer, vocabulary: Vocabulary, bins: Bins) -> Bundle:
        """What a composer is now, in single precision; it has no file."""
        weights = _weights(composer, np.float32)
        return cls(composer.config, weights, vocabulary, bins, "0" * 64, {})

    @property
    def name(self) -> str | None:
        """That of the run which trained it, where its file says so."""
        found: Any = self.config
        for key in ("training", "run", "name"):  # the file is a stranger's: of any shape
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, str) else None

    @cached_property
    def composer(self) -> Composer:
        """The network in torch, in evaluation mode, on the CPU."""
        import torch

        from sonicrx_ml.model import Composer

        composer = Composer(self.size, len(self.vocabulary), condition_sizes(self.bins))
        composer.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in self.weights.items()})
        return composer.eval()

    def decoder(self, memory: int | None = None) -> Decoder:
        """The network for sampling, on all of the process's cores or $OMP_NUM_THREADS.

        memory : the latest tokens that it attends to; at most, and by default, its context.
        """
        context = min(memory or self.size.context, self.size.context)
        if context not in self._decoders:
            threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
            size, told = replace(self.size, context=context), condition_sizes(self.bins)
            self._decoders[context] = Decoder(size, self.weights, told, threads)
        return self._decoders[context]

    @cached_property
    def _decoders(self) -> dict[int, Decoder]:
        return {}


def _weights(composer: Composer, kind: type[np.floating]) -> dict[str, NDArray[Any]]:
    state = composer.state_dict().items()
    return {name: weight.detach().cpu().numpy().astype(kind) for name, weight in state}


def export(
    folder: Path,
    composer: Composer,
    vocabulary: Vocabulary,
    bins: Bins,
    training: Mapping[str, Any],
    card: str,
    attribution: str | None = None,
    half: bool = True,
) -> None:
    """Write a bundle; an older one at the same place is replaced only when this one is whole.

    training : facts about the run, kept in `config.json` (JSON values).
    attribution : the text of `attribution.csv`; None for none.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = _weights(composer, np.float16 if half else np.float32)
    save_file(weights, partial / "model.safetensors")
    config = {
        "format": FORMAT,
        "sonicrx_ml": __version__,
        "model": asdict(composer.config),
        "conditions": {
            "names": list(condition_names()),
            "sizes": list(condition_sizes(bins)),
            "remaining": REMAINING_EDGES.tolist(),
        },
        "bins": bins.fingerprint,
        "families": dict(FAMILIES),
        "vocabulary": vocabulary.fingerprint,
        "training": dict(training),
    }
    (partial / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    vocabulary.save(partial / "vocabulary.json")
    tokens.remi().save(partial / "tokenizer.json")
    bins.save(partial / "bins.json")
    (partial / "README.md").write_text(card)
    if attribution is not None:
        (partial / "attribution.csv").write_text(attribution, encoding="utf-8")
    replace_folder(partial, folder)


def replace_folder(made: Path, folder: Path) -> None:
    """Put a finished folder in the place of another, which is kept until the new one is there.

    A process killed in between leaves the old one as `.NAME.old`, and the next call brings it back
    before it begins.
    """
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def load(folder: Path | str) -> Bundle:
    """Read a bundle, in single precision.

    Raises `ValueError` naming the file, key or tensor that is missing or disagrees.
    """
    folder = Path(folder)
    for name in _FILES:
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not a bundle: {name} is missing")
    config = _read(folder / "config.json", _read_config)
    vocabulary = _read(folder / "vocabulary.json", Vocabulary.load)
    bins = _read(folder / "bins.json", Bins.load)
    _check(config, vocabulary, bins)
    size, weights = _read_weights(folder / "model.safetensors", config, vocabulary, bins)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Bundle(size, weights, vocabulary, bins, digest, config)


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    """What a reader makes of a file; whatever is wrong in the file names it."""
    try:
        return reader(path)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read_config(path: Path) -> dict[str, Any]:
    config = json.loads(path.read_text())
    wanted = ("format", "model", "conditions", "families", "vocabulary", "bins")
    missing = [key for key in wanted if not isinstance(config, dict) or key not in config]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    if config["format"] != FORMAT:
        raise ValueError(f"format {config['format']!r}; this version reads {FORMAT}")
    for key in ("model", "conditions", "families"):
        if not isinstance(config[key], dict):
            raise ValueError(f"{key} {config[key]!r} is not a JSON object")
    return dict(config)


def _check(config: Mapping[str, Any], vocabulary: Vocabulary, bins: Bins) -> None:
    agreed = {
        "vocabulary": (config["vocabulary"], vocabulary.fingerprint),
        "vocabulary of this version": (vocabulary.fingerprint, tokens.FINGERPRINT),
        "conditions": (config["conditions"].get("names"), list(condition_names())),
        "bins": (config["conditions"].get("sizes"), list(condition_sizes(bins))),
        "bin edges": (config["bins"], bins.fingerprint),
        "edges of the bars that remain": (
            config["conditions"].get("remaining"),
            REMAINING_EDGES.tolist(),
        ),
        "families": (list(config["families"].items()), list(FAMILIES.items())),
    }
    for name, (found, expected) in agreed.items():
        if found != expected:
            raise ValueError(f"the bundle's {name} disagree: {found!r} is not {expected!r}")


def _read_weights(
    path: Path, config: Mapping[str, Any], vocabulary: Vocabulary, bins: Bins
) -> tuple[ModelConfig, dict[str, NDArray[np.float32]]]:
    try:
        size = ModelConfig(**config["model"])
    except TypeError as error:
        raise ValueError(f"config.json: model {config['model']!r}: {error}") from error
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from error
    expected = size.shapes(len(vocabulary), condition_sizes(bins))
    for name in sorted(expected.keys() ^ weights.keys()):
        raise ValueError(
            f"{path.name}: tensor {name} is {'missing' if name in expected else 'unknown'}"
        )
    for name, weight in weights.items():
        if weight.shape != expected[name]:
            shapes = f"{weight.shape}, the model needs {expected[name]}"
            raise ValueError(f"{path.name}: tensor {name} has shape {shapes}")
    return size, {name: weight.astype(np.float32) for name, weight in weights.items()}
