"""How a sound masks upwards: the slopes of ISO 532-1:2017, 5.6, and the area under them.

A core loudness (20, ...) in sone/Bark, one row a critical band, becomes the pattern of specific
loudness over 0 to 24 Bark. Where this departs from the text of the standard: slopes are read from
tables, not stepped through.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from sonicrx_ml import zwicker
from sonicrx_ml.acoustics import Floats
from sonicrx_ml.third_octaves import Single

BARK = np.arange(1, 241) / 10  # where specific loudness is read
LOUDEST = 64.0  # sone/Bark, above what 120 dB gives in any band
LEVEL_STEP, REACH_STEP = 0.001, 0.002  # sone/Bark and Bark, of the tables


class _Table(NamedTuple):
    """A function at multiples of `step` from 0, linear in between."""

    step: float
    values: Single
    rises: Single

    @classmethod
    def of(cls, step: float, values: Floats) -> _Table:
        single = values.astype(np.float32)
        return cls(step, single[:-1], np.diff(single))

    def __call__(self, where: Single) -> Single:
        place = where * np.float32(1 / self.step)
        at = place.astype(np.int32)
        return self.values[at] + (place - at) * self.rises[at]


class _Fall(NamedTuple):
    """The upper slope of a critical band, all the way down to silence.

    A pattern that falls from a level in sone/Bark is silent `reach` Bark further up; from there
    back, its level and the area under it in sone are those of the reach.
    """

    reach: _Table
    level: _Table
    area: _Table


@cache
def _falls() -> list[_Fall]:
    """The slope of each critical band; nothing falls in the first one."""
    columns = np.clip(np.arange(len(zwicker.UPPER)) - 1, 0, zwicker.SLOPE.shape[1] - 1)
    falls = [_fall(steepness) for steepness in zwicker.SLOPE.T]
    return [falls[column] for column in columns]


def _fall(steepness: Floats) -> _Fall:
    bends = np.append(zwicker.SLOPE_LEVEL, LOUDEST)
    reach = np.append(0.0, np.cumsum(np.diff(bends) / steepness))
    levels = np.arange(0, LOUDEST, LEVEL_STEP)
    reaches = np.arange(0, reach[-1], REACH_STEP)
    down = np.interp(reaches, reach, bends)
    area = np.append(0.0, np.cumsum((down[1:] + down[:-1]) * REACH_STEP / 2))
    return _Fall(
        _Table.of(LEVEL_STEP, np.interp(levels, bends, reach)),
        _Table.of(REACH_STEP, down),
        _Table.of(REACH_STEP, area),
    )


class _Segment(NamedTuple):
    """One critical band of the pattern, which falls along `fall` until it meets `floor`.

    `start`, `end` and `stop` are the reaches at the band's lower and upper limit and of `floor`.
    """

    lower: float
    upper: float
    fall: _Fall
    floor: Single
    start: Single
    end: Single
    stop: Single


def _segments(core: Single) -> Iterator[_Segment]:
    """The pattern that masks upwards from a core loudness (20, ...) (ISO 532-1, 5.6)."""
    level, lower = np.zeros_like(core[0]), 0.0
    for upper, floor, fall in zip(
        zwicker.UPPER.tolist(), [*core, np.zeros_like(level)], _falls(), strict=True
    ):
        stop = fall.reach(floor)
        start = np.maximum(fall.reach(level), stop)
        end = np.maximum(start - (upper - lower), stop)
        yield _Segment(lower, upper, fall, floor, start, end, stop)
        level, lower = fall.level(end), upper


def sones(core: Single) -> Floats:
    """Loudness (...) in sone of a core loudness (20, ...): the area under its pattern."""
    total = np.zeros(core.shape[1:])
    for part in _segments(core):
        flat = part.upper - part.lower - (part.start - part.end)
        total += part.fall.area(part.start) - part.fall.area(part.end) + part.floor * flat
    return total


def specific(core: Single) -> Single:
    """Specific loudness (240, ...) in sone/Bark at BARK of a core loudness (20, ...)."""
    rows = []
    for part in _segments(core):
        inside = BARK[round(10 * part.lower) : round(10 * part.upper)] - part.lower
        rows += [part.fall.level(np.maximum(part.start - dz, part.stop)) for dz in inside.tolist()]
    return np.stack(rows)
