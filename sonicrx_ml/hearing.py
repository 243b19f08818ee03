"""What a sound could do to a listener's ears: level, weekly dose, sudden rises.

Conventions are those of `acoustics`. Levels in dBA are absolute and hang on the playback level that
`full_scale_db_spl` stands for; rises are relative and do not. None of it is a diagnosis: a person
may be startled or harmed by less, and an amplifier may play louder than was assumed.

Sources: IEC 61672-1:2013 (A-weighting); ITU-T H.870 (2018), the WHO's dose for safe listening:
80 dBA for 40 h a week, 1.6 Pa²h, for adults, and 75 dBA for children, half the time for each 3 dB
more. The limit on sudden rises is an engineering choice [E].
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike
from scipy import ndimage, signal

from sonicrx_ml.acoustics import (
    FINE_STEP_S,
    INTEGRATED_GATE,
    MOMENTARY_S,
    Floats,
    Samples,
    Weighted,
    checked,
    decibel,
)

ADULT, CHILD = 80.0, 75.0  # dBA for WEEKLY_HOURS, ITU-T H.870
WEEKLY_HOURS = 40.0
EXCHANGE_DB = 3.0  # halve the time
WEEK_HOURS = 168.0

FRAME_S = 0.2  # of a spectrum
FRAMES_AT_ONCE = 64

RISE_S = 0.4
MEMORY_S = 3.0  # of what was heard before [E]
RISE_LIMIT = 6.0  # LU [E]


def a_weighting(hz: ArrayLike) -> Floats:
    """Gain of the A-weighting (IEC 61672-1, annex E), as a power ratio; 1 at 1 kHz, 0 at 0 Hz."""
    squared = np.asarray(hz, dtype=np.float64) ** 2
    low, low_mid, high_mid, high = (
        pole**2 for pole in (20.598997, 107.65265, 737.86223, 12194.217)
    )
    amplitude = high * squared**2 / (squared + low) / (squared + high)
    amplitude /= np.sqrt((squared + low_mid) * (squared + high_mid))
    return np.asarray((10 ** (2.0 / 20) * amplitude) ** 2)


def a_weighted_level(samples: Samples, rate: int, *, full_scale_db_spl: float) -> float:
    """Equivalent level in dBA at the louder ear (each channel is one ear's); `-inf` for silence."""
    rows = checked(samples, rate)
    size = min(round(FRAME_S * rate), rows.shape[1])
    window = signal.get_window("hann", size).astype(np.float32)
    frames = rows[:, : rows.shape[1] // size * size].reshape(len(rows), -1, size)
    power = np.zeros((len(rows), size // 2 + 1))
    for first in range(0, frames.shape[1], FRAMES_AT_ONCE):
        part = frames[:, first : first + FRAMES_AT_ONCE].astype(np.float32)
        power += (np.abs(scipy.fft.rfft(part * window)) ** 2).sum(axis=1, dtype=np.float64)
    weighted = power @ a_weighting(scipy.fft.rfftfreq(size, 1 / rate))
    mean_square = 2.0 * weighted / (frames.shape[1] * size * float(window @ window))
    return float(decibel(2.0 * mean_square.max()) + full_scale_db_spl)


def weekly_hours(level_dba: float, reference: float = ADULT) -> float:
    """Hours a week at a level in dBA until the dose of ITU-T H.870 is full; 168 is all of them."""
    exponent = min((reference - level_dba) / EXCHANGE_DB, 10.0)
    return float(min(WEEKLY_HOURS * 2.0**exponent, WEEK_HOURS))


def startle(weighted: Weighted) -> float:
    """How suddenly it gets loud: LU by which 400 ms are louder than what was heard before.

    That is the loudest momentary loudness (EBU Tech 3341) of the 3 s that end 400 ms earlier: what
    swells slowly does not rise, and a beat that goes on does not either. Rests and soft notes count
    as 10 LU below the integrated loudness, as in its gate, and the silence before the first sound
    as the integrated loudness: music may begin. 0 for silence.
    """
    return max(0.0, float(rises(weighted).max(initial=0.0)))


def rises(weighted: Weighted) -> Floats:
    """The same at every window of 400 ms, one per `FINE_STEP_S`; empty for silence."""
    integrated = weighted.integrated
    if not np.isfinite(integrated):
        return np.zeros(0)
    level = weighted.levels(MOMENTARY_S, FINE_STEP_S).values
    level = np.maximum(level, integrated + INTEGRATED_GATE)
    memory, span = round(MEMORY_S / FINE_STEP_S), round((MEMORY_S - RISE_S) / FINE_STEP_S)
    padded = np.concatenate([np.full(memory, integrated), level])
    loudest = ndimage.maximum_filter1d(padded, span)
    before = loudest[span // 2 : span // 2 + len(level)]
    found: Floats = level - before
    return found
