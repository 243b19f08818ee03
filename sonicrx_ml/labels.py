"""From measured attributes to the model's conditions: bins fitted on the training split only.

A condition is a small whole number per bar: 0 means *free* (not prescribed, or missing in the
corpus), k means the k-th bin. `CONDITIONS` lists the attributes the model is told; `Bins` holds the
edges between bins, so that corpus labels and prescriptions become the same numbers. The model
is also told the bars that remain, and of each timbre family whether a note of it begins in the bar.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.keys import HOME_KEYS
from sonicrx_ml.notes import Floats, Ints
from sonicrx_ml.palette import FAMILIES

# Fixed edges: tempo by the tempo bins of Text2midi's evaluation, mode by certainty.
FIXED_EDGES: dict[str, tuple[float, ...]] = {
    "tempo": (40, 60, 70, 90, 110, 140, 160, 210),
    "mode": (0.35, 0.65),
    "chromaticism": (0.005, 0.05, 0.15),
}
# Number of equally filled bins of the others.
QUANTILE_BINS = {"density": 12, "polyphony": 8, "register": 10, "articulation": 4, "energy": 8}
CONDITIONS = ("tempo", "mode", "density", "polyphony", "register", "articulation", "chromaticism",
              "energy")  # fmt: skip
FREE = 0
# Bars that remain, this one included: exact up to 16, then coarser. Bucket 0 is free.
REMAINING_EDGES: Ints = np.array([*range(2, 18), 25, 33, 49, 65, 97])
SILENT, SOUNDS = 1, 2  # values of a family's condition; 0 is `FREE`
MODE_TOLD = "in C major and A minor alone"  # of which bars: see `told_mode`


@dataclass(frozen=True)
class Bins:
    """Edges between bins, per condition (increasing); n edges make n + 1 bins."""

    edges: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        if tuple(self.edges) != CONDITIONS:
            raise ValueError(f"bins are for {tuple(self.edges)}; legal are {CONDITIONS}")
        for name, edges in self.edges.items():
            if not all(math.isfinite(edge) for edge in edges):
                raise ValueError(f"bin edges of {name} are not all finite: {edges}")
            if not all(a < b for a, b in itertools.pairwise(edges)):
                raise ValueError(f"bin edges of {name} do not increase: {edges}")

    @classmethod
    def fit(cls, values: Mapping[str, Floats]) -> Bins:
        """Quantile edges from the training split's bars; NaN is ignored."""
        edges = {
            name: FIXED_EDGES.get(name) or _quantiles(name, values[name]) for name in CONDITIONS
        }
        return cls(edges)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of condition values per attribute, `FREE` included."""
        return tuple(len(self.edges[name]) + 2 for name in CONDITIONS)

    def digitize(self, values: Mapping[str, Floats]) -> Ints:
        """(n_bars, n_conditions) bins; `FREE` where a value is NaN or an attribute not given."""
        n_bars = len(next(iter(values.values())))
        free = np.full(n_bars, FREE)
        columns = [self._bin(name, values[name]) if name in values else free for name in CONDITIONS]
        return np.stack(columns, axis=1)

    def _bin(self, name: str, values: Floats) -> Ints:
        bins = np.searchsorted(self.edges[name], values, side="right") + 1
        return np.where(np.isnan(values), FREE, bins)

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the conditions and their edges in order."""
        text = json.dumps([[name, list(map(float, row))] for name, row in self.edges.items()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        path.write_text(
            json.dumps({name: list(edges) for name, edges in self.edges.items()}, indent=1)
        )

    @classmethod
    def load(cls, path: Path) -> Bins:
        """Raises `ValueError` where the file is not what `save` writes."""
        data = json.loads(path.read_text())
        if not isinstance(data, dict) or not all(map(_is_edges, data.values())):
            raise ValueError(f"{path.name}: bins are a JSON object of lists of numbers")
        return cls({name: tuple(float(edge) for edge in edges) for name, edges in data.items()})


def told_mode(mode: Floats, key: Ints) -> Floats:
    """(n_bars,): the mode that the model is told of bars in C major or A minor; NaN elsewhere.

    mode : probability of a major key by bar; key : of the 24, by bar, -1 for none; both as measured
    in canonical key. So whoever asks for a mode asks for its home key: a passage in G major within
    a piece in C major is told no mode.
    """
    return np.where(np.isin(key, HOME_KEYS), mode, np.nan)


def _is_edges(value: object) -> bool:
    return isinstance(value, list) and all(type(edge) in (int, float) for edge in value)


def _quantiles(name: str, values: Floats) -> tuple[float, ...]:
    """Edges that fill the bins equally; ties collapse, so there may be fewer bins.

    An attribute that no bar has (no tempo in the whole corpus) keeps a single bin.
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return ()
    steps = np.linspace(0, 1, QUANTILE_BINS[name] + 1)[1:-1]
    # An edge lies a hair above its quantile, so that the common exact values fall below it.
    edges = np.unique(np.quantile(known, steps).round(4)) + 1e-4
    return tuple(float(edge) for edge in edges if edge < known.max())


def remaining_bucket(remaining: NDArray[np.integer]) -> Ints:
    """Buckets 1, 2, ... of the bars that remain (1 is the last bar)."""
    return np.searchsorted(REMAINING_EDGES, remaining, side="right") + 1


def condition_names() -> tuple[str, ...]:
    """The A conditions, in order."""
    return (*CONDITIONS, "remaining", *FAMILIES)


def condition_sizes(bins: Bins) -> tuple[int, ...]:
    """Number of values of each of the A conditions, free included."""
    return (*bins.sizes, len(REMAINING_EDGES) + 2, *[SOUNDS + 1] * len(FAMILIES))
