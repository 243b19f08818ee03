"""Nats per note of a split: the composer told its conditions, told nothing, and an n-gram.

Every token of the split is predicted once. The composer reads a piece in windows of its context
that lie end to end and forgets what came before each; the n-gram, fitted on the whole training
split, keeps its context across them, so it is at no disadvantage.

All windows of a piece but the first therefore begin where the last one ended, mostly in the middle
of a bar: the composer is told that bar's conditions, yet has not seen how it began, which training
windows (they begin at bar lines) never ask of it. This counts against it. Windows cut at bar lines
would be of unequal length, or predict some tokens twice; and figures already published, here and on
model cards, would no longer compare.

Nats are summed over tokens and divided by the
notes (`Pitch` tokens) among them, which makes tokenisers comparable.

The composer beats the n-gram by what it gains *told nothing*, as the n-gram is. The conditions that
it is told are computed from the notes being predicted, so what it gains by them is what the
prescription is worth, and no part of that comparison.

Intervals are over works, the label table's `group`: pieces of a work are not independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import DataLoader

from sonicrx_ml import ngram
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.dataset import EvaluationWindows, load_labels, load_split
from sonicrx_ml.model import Composer
from sonicrx_ml.notes import Floats, Ints
from sonicrx_ml.statistics import Estimate, bootstrap, ratio
from sonicrx_ml.tokens import PITCH, Ids, Vocabulary

COMPOSER, FREE, NGRAM = "composer told", "composer told nothing", "n-gram"
GAIN, WORTH = "gain over the n-gram, told nothing", "what the prescription is worth"
#: Modules that the composer's nats depend on, beside the weights.
_MODULES = ("dataset", "keys", "labels", "likelihood", "model", "palette", "tokens")


@dataclass(frozen=True, slots=True)
class Scores:
    """Sums over each of W windows of a split."""

    nats: dict[str, Floats]
    """(W,) for `COMPOSER`, `FREE` and `NGRAM`."""
    notes: Ints
    tokens: Ints
    piece: Ints
    """Row of the split that the window is from."""
    group: NDArray[np.str_]
    """Work that the piece belongs to."""
    source: NDArray[np.str_]
    """Source of that piece."""


def score(
    bundle: Bundle,
    prepared: Path,
    cache: Path,
    *,
    split: str = "test",
    limit: int = 0,
    order: int = 7,
    batch_size: int = 16,
) -> Scores:
    """Score a split of a prepared folder.

    limit : use so many windows, evenly spread over the split (0: all).
    cache : folder of sums, read again when all that they depend on is the same.
    Raises `ValueError` where the folder was prepared with another vocabulary.
    """
    vocabulary, size = bundle.vocabulary, bundle.composer.config.context
    _check_vocabulary(vocabulary, prepared)
    rows = load_split(prepared, split)
    told = EvaluationWindows(rows, vocabulary, bundle.bins, size, limit)
    free = EvaluationWindows(rows, vocabulary, bundle.bins, size, limit, free=True)
    labels = prepared / "labels.parquet"
    text = hashlib.sha256(labels.read_bytes()).hexdigest(), split, limit, size

    def composed(windows: EvaluationWindows, name: str) -> Floats:
        return _cached(
            cache,
            (name, bundle.sha256, _code_sha256(), *text),
            lambda: composer_nats(bundle.composer, windows, batch_size, name),
        )

    tokens, table = _streams(rows), load_labels(prepared, split)
    piece = np.array([piece for piece, _ in told.spans])
    return Scores(
        nats={
            COMPOSER: composed(told, COMPOSER),
            FREE: composed(free, FREE),
            NGRAM: _cached(
                cache, (NGRAM, order, *text), lambda: _ngram_nats(prepared, told, tokens, order)
            ),
        },
        notes=_sums(told, {i: vocabulary.kind[tokens[i]] == PITCH for i in piece}),
        tokens=_sums(told, {i: np.ones(len(tokens[i])) for i in piece}),
        piece=piece,
        group=np.array(table["group"].to_pylist())[piece],
        source=np.array(table["source"].to_pylist())[piece],
    )


def estimates(scores: Scores) -> dict[str, Any]:
    """Nats per note with intervals over works, what the composer gains, and the same by source."""
    nats = scores.nats
    per_note = {name: _per_note(scores, each) for name, each in nats.items()}
    gains = {
        GAIN: _per_note(scores, nats[NGRAM] - nats[FREE]),
        WORTH: _per_note(scores, nats[FREE] - nats[COMPOSER]),
    }
    by_source = {}
    for source in np.unique(scores.source):
        rows = scores.source == source
        by_source[str(source)] = {
            name: _per_note(scores, each, rows) for name, each in nats.items()
        }
    return {
        "works": len(np.unique(scores.group)),
        "pieces": len(np.unique(scores.piece)),
        "notes": int(scores.notes.sum()),
        "tokens": int(scores.tokens.sum()),
        "nats_per_note": per_note,
        "gain": gains,
        "by_source": by_source,
    }


@torch.inference_mode()
def composer_nats(
    composer: Composer, windows: EvaluationWindows, batch_size: int, description: str = COMPOSER
) -> Floats:
    """Nats of each window, (W,), on the composer's device.

    The longest windows come first, and a batch is cut to its longest: it has little padding.
    """
    device = composer.tokens.weight.device
    order = np.argsort(-_lengths(windows), kind="stable")
    loader = DataLoader(
        windows, batch_size=batch_size, sampler=order.tolist(), collate_fn=windows.collate
    )
    found = []
    for batch in track(loader, description):
        ids, targets, bar, conditions = (part.to(device) for part in batch[:4])
        longest = int((targets != windows.vocabulary.pad).sum(dim=1).max())
        ids, targets, bar = (part[:, :longest] for part in (ids, targets, bar))
        logits_BTV = composer(ids, bar, conditions)
        nats_BT = F.cross_entropy(
            logits_BTV.transpose(1, 2).float(),
            targets,
            ignore_index=windows.vocabulary.pad,
            reduction="none",
        )
        found.append(nats_BT.double().sum(dim=1).cpu().numpy())
    return np.concatenate(found)[np.argsort(order)]


def _ngram_nats(
    prepared: Path, windows: EvaluationWindows, tokens: list[Ids], order: int
) -> Floats:
    """Nats of each window, (W,), by an n-gram of the training split."""
    training = _streams(load_split(prepared, "train"))
    model = ngram.fit(training, order, len(windows.vocabulary))
    pieces = dict.fromkeys(piece for piece, _ in windows.spans)
    return _sums(windows, {i: model.nats(tokens[i]) for i in track(pieces, NGRAM)})


def _streams(rows: datasets.Dataset) -> list[Ids]:
    """The tokens of every piece."""
    found: list[Ids] = []
    for chunk in rows.data["tokens"].chunks:
        lengths = chunk.value_lengths().to_numpy()
        found += np.split(chunk.flatten().to_numpy(), np.cumsum(lengths)[:-1])
    return found


def _lengths(windows: EvaluationWindows) -> Ints:
    """Tokens of each window, (W,)."""
    pieces = windows.pieces.lengths("tokens")
    return np.array([min(pieces[i] - start, windows.size) for i, start in windows.spans])


def _sums(windows: EvaluationWindows, per_token: Mapping[int, NDArray[Any]]) -> NDArray[Any]:
    """Sum over each window, (W,), of what each token of a piece counts."""
    size = windows.size
    return np.array([per_token[i][start : start + size].sum() for i, start in windows.spans])


def _per_note(
    scores: Scores, nats: Floats, rows: NDArray[np.bool_] | slice = slice(None)
) -> Estimate:
    columns = np.stack([nats, scores.notes], axis=1)
    return bootstrap(columns[rows], ratio, groups=scores.group[rows])


def _cached(folder: Path, key: tuple[object, ...], make: Callable[[], Floats]) -> Floats:
    """What `make` gives, kept under a name made of the key."""
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    path = folder / f"{name}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{name}.partial.npy"
        np.save(partial, make())
        partial.replace(path)
    return np.asarray(np.load(path, allow_pickle=False))


def _code_sha256() -> str:
    sources = [files("sonicrx_ml").joinpath(f"{name}.py").read_bytes() for name in _MODULES]
    return hashlib.sha256(b"".join(sources)).hexdigest()


def _check_vocabulary(vocabulary: Vocabulary, prepared: Path) -> None:
    found = Vocabulary.load(prepared / "vocabulary.json").fingerprint
    if found != vocabulary.fingerprint:
        raise ValueError(
            f"{prepared} has vocabulary {found}; the checkpoint needs {vocabulary.fingerprint}"
        )


__all__ = ["COMPOSER", "FREE", "GAIN", "NGRAM", "WORTH", "Scores", "composer_nats", "estimates",
           "score"]  # fmt: skip
