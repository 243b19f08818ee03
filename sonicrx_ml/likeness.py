"""Is the music of a column like real music, new, and varied? Beside the pieces of a test split.

One dictionary per column, of JSON values and `Estimate`s:

    pieces, unreadable   how many tracks could be read as music, and how many could not
    features             by feature of `style`: mean and standard deviation, those of real pieces,
                         overlap, divergence
    two-sample AUC       of a classifier that tells them from real pieces (`twosample`), by all
                         features and as `COMPOSED_AUC` without those that performance writes
    tells                the features that tell them best, each with its own AUC
    novelty              what they share with the training split (`novelty`)
    diversity            what takes of one prescription share, where there are several

Tracks that failed are left out here, since they have no music; conformance counts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonicrx_ml import novelty, style, twosample
from sonicrx_ml.canonical import Gridded
from sonicrx_ml.notes import Floats, MidiError, read_midi
from sonicrx_ml.statistics import Estimate, bootstrap
from sonicrx_ml.suite import Judged

COMPOSED_AUC = "two-sample AUC, lengths aside"
TELLS = 6  # features named that tell generated from real pieces best


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The real pieces that columns are held beside."""

    features: dict[str, Floats]
    groups: list[str]
    """Work of each piece."""
    index: novelty.Index
    """Of the training split."""
    shared: list[novelty.Shared]
    """What each piece shares with the training split."""


def yardstick(prepared: Path, split: str, cache: Path) -> Yardstick:
    """Measure a split of a prepared folder; the training split's index is kept in `cache`."""
    pieces = list(novelty.read_pieces(prepared, split))
    index = novelty.training_index(prepared, cache / "training-index.npz")
    return Yardstick(
        features=style.table([piece.grid for piece in pieces]),
        groups=[piece.group for piece in pieces],
        index=index,
        shared=[novelty.shared(piece.grid, index) for piece in pieces],
    )


def measure(judged: Sequence[Judged], real: Yardstick) -> dict[str, Any]:
    """The dictionary of one column; without `features` and AUC where a handful is all there is."""
    read = [(j.entry, grid) for j in judged if (grid := _grid(j)) is not None]
    entries, grids = [entry for entry, _ in read], [grid for _, grid in read]
    found: dict[str, Any] = {"pieces": len(grids), "unreadable": len(judged) - len(grids)}
    if min(len(set(entries)), len(set(real.groups))) >= twosample.FOLDS:
        table = style.table(grids)
        test = twosample.two_sample(table, real.features, entries, real.groups)
        found["features"] = {
            row.feature: _feature(row)
            for row in style.compare(table, real.features, entries, real.groups)
        }
        found["two-sample AUC"] = test.auc
        found[COMPOSED_AUC] = twosample.two_sample(
            table, real.features, entries, real.groups, used=twosample.COMPOSED
        ).auc
        found["tells"] = dict(itertools.islice(test.tells.items(), TELLS))
    if grids:
        shared = [novelty.shared(grid, real.index) for grid in grids]
        found["novelty"] = novelty.figures(shared, real.shared, entries)
    return found | _diversity(entries, grids)


def by_column(
    found: Mapping[str, Sequence[Judged]], prepared: Path, split: str, cache: Path
) -> dict[str, dict[str, Any]]:
    """The dictionary of every column, and as `real` that of the split's own pieces."""
    real = yardstick(prepared, split, cache)
    measured = {name: measure(judged, real) for name, judged in found.items()}
    return {"real": yardstick_figures(real)} | measured


def yardstick_figures(real: Yardstick) -> dict[str, Any]:
    """What the real pieces themselves share with the training split."""
    return {
        "pieces": len(real.groups),
        "novelty": novelty.figures(real.shared, real.shared, real.groups),
    }


def _grid(judged: Judged) -> Gridded | None:
    if judged.report.failure or not judged.midi.is_file():
        return None
    try:
        return style.standard(read_midi(judged.midi.read_bytes()))
    except MidiError:
        return None


def _feature(row: style.Comparison) -> dict[str, Any]:
    means: dict[str, Estimate | float | None] = {
        "generated": row.generated, "generated sd": row.generated_sd,
        "real": row.real, "real sd": row.real_sd,
    }  # fmt: skip
    told = {name: mean for name, mean in means.items() if mean is not None}
    return told | {"overlap": row.overlap, "divergence": row.divergence}


def _diversity(entries: Sequence[int], grids: Sequence[Gridded]) -> dict[str, Any]:
    """Longest run, and share of runs, that a take has in common with others of its prescription."""
    takes = [[grid for e, grid in zip(entries, grids, strict=True) if e == entry]
             for entry in sorted(set(entries))]  # fmt: skip
    several = [(k, novelty.between(grids)) for k, grids in enumerate(takes) if len(grids) > 1]
    if not several:
        return {}
    group = np.repeat([k for k, _ in several], [len(shared) for _, shared in several])
    shared = [one for _, many in several for one in many]
    share = np.array([one.share for one in shared])
    told = np.isfinite(share)
    return {
        "diversity": {
            "longest run shared with another take, notes": bootstrap(
                [one.longest for one in shared], groups=group
            ),
            "share of its runs in another take": bootstrap(share[told], groups=group[told]),
        }
    }
