"""Statistics with their uncertainty.

A *statistic* takes weights (R, N), how often each of N items is in each of R resamples, and values
(N,) or (N, 2), and gives one figure per resample, (R,), NaN where it is not defined. So one
bootstrap serves means, ratios and rank correlations, and a thousand resamples are one matrix
product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sonicrx_ml.notes import Floats, Ints

Statistic: TypeAlias = Callable[[Floats, Floats], Floats]

RESAMPLES = 2000
LEVEL = 0.95
_CELLS = 4_000_000  # weights held at a time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its bootstrap interval, and the number of groups that the interval is over.

    NaN where the figure is not defined: no samples, or no variation to correlate.
    """

    value: float
    low: float
    high: float
    n: int
    """Independent samples: works, or prescriptions, however many pieces or takes each has."""

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON: None where the figure is not defined."""
        return {name: None if np.isnan(v) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Estimate:
        """Undo `to_dict`."""
        told: dict[str, Any] = {k: np.nan if v is None else v for k, v in values.items()}
        return cls(**told)

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def bootstrap(
    values: ArrayLike,
    statistic: Statistic | None = None,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    basic: bool = False,
) -> Estimate:
    """A statistic (default: the mean) with its percentile interval (Efron & Tibshirani 1993).

    groups : (N,) which items belong together (the pieces of a work): whole groups are drawn, since
        items of a group are not independent. Default: every item on its own.
    basic : the interval of Davison & Hinkley 1997, §5.2, for a statistic that is at least 0 and
        that resampling shifts: the percentiles mirrored at the figure, cut off at 0.
    """
    values = np.asarray(values, dtype=float)
    statistic = statistic or mean
    labels = np.arange(len(values)) if groups is None else np.asarray(groups)
    names, group = np.unique(labels, return_inverse=True)
    if len(values) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    blocks = np.array_split(drawn, -(-resamples * len(values) // _CELLS))
    found = np.concatenate([statistic(block[:, group].astype(float), values) for block in blocks])
    value = float(statistic(np.ones((1, len(values))), values)[0])
    if not np.isfinite(value):
        return Estimate(np.nan, np.nan, np.nan, len(names))
    edges = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    low, high = np.quantile(found[np.isfinite(found)], edges)
    if basic:
        low, high = max(0.0, 2 * value - high), max(value, 2 * value - low)
    return Estimate(value, float(low), float(high), len(names))


def mean(weights: Floats, values: Floats) -> Floats:
    return weights @ values / weights.sum(axis=1)


def ratio(weights: Floats, values: Floats) -> Floats:
    """Sum of the first column over the sum of the second."""
    sums = weights @ values
    return sums[:, 0] / sums[:, 1]


def root_mean(weights: Floats, values: Floats) -> Floats:
    """Square root of the mean: of squared errors, their root mean square."""
    return np.sqrt(mean(weights, values))


def spearman(weights: Floats, values: Floats) -> Floats:
    """Rank correlation of the two columns, ties at their mean rank."""
    x, y = (_ranks(weights, column) for column in values.T)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)  # a resample may have none of them
    x -= (weights * x).sum(axis=1, keepdims=True) / total
    y -= (weights * y).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    covariance = (weights * x * y).sum(axis=1)
    defined = spread > 1e-9 * total[:, 0]
    return np.divide(covariance, spread, out=np.full(len(spread), np.nan), where=defined)


def _ranks(weights: Floats, column: Floats) -> Floats:
    """(R, N): mean rank of each item among the items of each resample."""
    levels, level = np.unique(column, return_inverse=True)
    order = np.argsort(level, kind="stable")
    first: Ints = np.searchsorted(level[order], np.arange(len(levels)))
    count = np.add.reduceat(weights[:, order], first, axis=1)
    upto = np.cumsum(count, axis=1)
    return (upto - (count - 1) / 2)[:, level]


__all__ = ["Estimate", "Statistic", "bootstrap", "mean", "ratio", "root_mean", "spearman"]
