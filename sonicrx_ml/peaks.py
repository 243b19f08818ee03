"""True peak: the highest level of the continuous signal between the samples (BS.1770-5 annex 2).

Conventions are those of `acoustics`. The peak is read after oversampling to `PEAK_RATE` or more;
blocks that cannot hold it are left out, and `mastering` limits with the same blocks.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from sonicrx_ml.acoustics import Floats, Samples, checked, decibel

PEAK_RATE = 384_000  # Hz; BS.1770-5 annex 2 asks for at least 192 kHz
PEAK_REACH = 12  # input samples on either side that shape an interpolated one
PEAK_BLOCK = 128  # samples
PEAK_BATCH = 256  # blocks oversampled at once


def true_peak(samples: Samples, rate: int) -> float:
    """Highest level of the continuous signal in dBTP (BS.1770-5 annex 2), `-inf` for silence.

    Oversampled to 384 kHz or more, where a peak is under-read by .17 dB at worst. Blocks are taken
    from the largest `peak_bounds` down, until no block left can hold the peak.
    """
    rows = checked(samples, rate)
    factor = -(-PEAK_RATE // rate)
    bounds = peak_bounds(rows, factor)
    order = np.argsort(-bounds, kind="stable")
    peak = 0.0
    for first in range(0, len(order), PEAK_BATCH):
        chosen = order[first : first + PEAK_BATCH]
        if bounds[chosen[0]] <= peak:
            break
        peak = max(peak, float(peaks_between(rows, chosen, factor).max()))
    return float(decibel(peak**2))


def peak_bounds(rows: Samples, factor: int) -> Floats:
    """What the oversampled signal cannot exceed in any channel, per block of PEAK_BLOCK samples.

    An interpolated value is at most the largest sample in reach times the filter's absolute sum.
    """
    starts = np.arange(0, rows.shape[1], PEAK_BLOCK)
    highest = np.maximum.reduceat(rows, starts, axis=1)
    lowest = np.minimum.reduceat(rows, starts, axis=1)
    largest = np.maximum(highest, -lowest).max(axis=0)
    in_reach = ndimage.maximum_filter1d(largest, 3, mode="nearest")
    taps = np.pad(_interpolator(factor), (0, factor - 1)).reshape(-1, factor)
    return np.asarray(in_reach * np.abs(taps).sum(axis=0).max(), dtype=np.float64)


def peaks_between(rows: Samples, blocks: NDArray[np.integer], factor: int) -> Floats:
    """Largest magnitude in any channel from each sample up to the next, (len(blocks), PEAK_BLOCK).

    blocks : indices of blocks of PEAK_BLOCK samples; outside the sound is silence.
    """
    found = np.empty((len(blocks), PEAK_BLOCK))
    window = np.arange(-PEAK_REACH, PEAK_BLOCK + PEAK_REACH)
    for first in range(0, len(blocks), PEAK_BATCH):
        at = blocks[first : first + PEAK_BATCH, None] * PEAK_BLOCK + window
        inside = (at >= 0) & (at < rows.shape[1])
        parts = np.where(inside, rows[:, at.clip(0, rows.shape[1] - 1)], 0.0)
        between = signal.upfirdn(_interpolator(factor), parts, up=factor, axis=2)
        between = between[..., 2 * PEAK_REACH * factor :][..., : PEAK_BLOCK * factor]
        steps = np.abs(between).reshape(*parts.shape[:2], PEAK_BLOCK, factor)
        found[first : first + PEAK_BATCH] = steps.max(axis=(0, 3))
    return found


@cache
def _interpolator(factor: int) -> Floats:
    """Windowed-sinc low-pass at the old Nyquist frequency; every `factor`-th tap but one is 0."""
    taps = 2 * PEAK_REACH * factor + 1
    if factor == 1:  # at `PEAK_RATE` there is nothing to interpolate
        return (np.arange(taps) == PEAK_REACH).astype(float)
    return factor * signal.firwin(taps, 1.0 / factor, window=("kaiser", 5.0), scale=False)
