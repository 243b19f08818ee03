"""Curves: a quantity over the fraction 0..1 of the music, piecewise linear, integrated exactly."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:  # a prescription is read without the libraries of MIDI
    from sonicrx_ml.notes import Floats

MIN_STEP = 1e-6  # between neighbouring fractions: 7 ms of two hours
LEGAL_FRACTIONS = f"rise from 0 to 1 in steps of at least {MIN_STEP:g}"


@dataclass(frozen=True, slots=True)
class Curve:
    """Piecewise linear over the fraction of the music: (fraction, value) from 0 to 1."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        fractions = [fraction for fraction, _ in self.points]
        if not _rise(fractions):
            raise ValueError(f"curve fractions {fractions}; legal {LEGAL_FRACTIONS}")

    @classmethod
    def of(cls, value: object, name: str = "curve") -> Curve:
        """From a number, `[start, end]`, or `[fraction, value]` points (ends are held)."""
        if isinstance(value, Curve):
            return value
        if is_number(value):
            return cls(((0.0, to_float(value)), (1.0, to_float(value))))
        points = _points(value)
        if points is None:
            raise ValueError(
                f"{name} {value!r} is not a curve; legal are a number, [start, end], or a list of "
                f"[fraction, value] points whose fractions {LEGAL_FRACTIONS}"
            )
        return cls(tuple(points))

    def to_json(self) -> float | list[float] | list[list[float]]:
        """The shortest form that `of` reads back to the same curve."""
        values = [value for _, value in self.points]
        if len(values) > 2:
            return [list(point) for point in self.points]
        return values[0] if values[0] == values[1] else values

    def __call__(self, fraction: ArrayLike) -> Floats:
        """Values at fractions (any shape)."""
        x = np.asarray(fraction, dtype=np.float64)
        return np.asarray(np.interp(x, self._fractions, self._values))

    def integral(self, fraction: ArrayLike) -> Floats:
        """Exact integral from 0 to each fraction."""
        x = np.asarray(fraction, dtype=np.float64)
        piece = np.clip(np.searchsorted(self._fractions, x, side="right") - 1, 0, None)
        start = self._fractions[piece]
        return self._areas[piece] + (x - start) * (self._values[piece] + self(x)) / 2.0

    def invert_integral(self, area: ArrayLike) -> Floats:
        """Fraction at which `integral` reaches each area; the curve must be positive."""
        wanted = np.asarray(area, dtype=np.float64)
        slopes = np.diff(self._values) / np.diff(self._fractions)
        last = len(slopes) - 1
        piece = np.clip(np.searchsorted(self._areas, wanted, side="right") - 1, 0, last)
        rest = wanted - self._areas[piece]
        value = self._values[piece]
        root = np.sqrt(np.maximum(value**2 + 2.0 * slopes[piece] * rest, 0.0))
        return self._fractions[piece] + 2.0 * rest / (value + root)

    @property
    def turns_back(self) -> bool:
        """Whether it both rises and falls."""
        steps = np.diff(self._values)
        return bool((steps > 0).any() and (steps < 0).any())

    def means(self, edges: Floats) -> Floats:
        """Exact mean between neighbouring edges (n + 1 rising fractions -> n values)."""
        return np.diff(self.integral(edges)) / np.diff(edges)

    @property
    def _fractions(self) -> Floats:
        return np.array([fraction for fraction, _ in self.points])

    @property
    def _values(self) -> Floats:
        return np.array([value for _, value in self.points])

    @property
    def _areas(self) -> Floats:
        values = self._values
        steps = np.diff(self._fractions) * (values[1:] + values[:-1]) / 2.0
        return np.concatenate([[0.0], np.cumsum(steps)])


def knots(*curves: Curve) -> Floats:
    """The fractions at which any of the curves bends, 0 and 1 among them, rising."""
    every = np.unique([fraction for curve in curves for fraction, _ in curve.points])
    kept = every[np.diff(every, prepend=-1.0) >= MIN_STEP]
    kept[-1] = 1.0
    return kept


def is_number(value: Any) -> bool:
    """A finite real number, not a bool."""
    limit: Any = sys.float_info.max  # compared before any conversion, which a huge int would break
    return not isinstance(value, bool) and isinstance(value, Real) and -limit <= value <= limit


def to_float(value: Any) -> float:
    return float(value) + 0.0  # + 0.0 turns -0.0 into 0.0: equal curves give equal JSON


def _points(value: object) -> list[tuple[float, float]] | None:
    """Legal (fraction, value) points, the ends held; None where the value is no such thing."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) == 0:
        return None
    if len(value) == 2 and all(is_number(v) for v in value):
        return [(0.0, to_float(value[0])), (1.0, to_float(value[1]))]
    for point in value:
        if not isinstance(point, Sequence) or len(point) != 2:
            return None
        if not all(is_number(v) for v in point) or not 0 <= point[0] <= 1:
            return None
    points = [(to_float(fraction), to_float(level)) for fraction, level in value]
    if points[0][0] > 0:
        points.insert(0, (0.0, points[0][1]))
    if points[-1][0] < 1:
        points.append((1.0, points[-1][1]))
    return points if _rise([fraction for fraction, _ in points]) else None


def _rise(fractions: Sequence[float]) -> bool:
    """From 0 to 1, in steps that are not too small to divide by."""
    if len(fractions) < 2 or fractions[0] != 0 or fractions[-1] != 1:
        return False
    return all(b - a >= MIN_STEP for a, b in itertools.pairwise(fractions))
