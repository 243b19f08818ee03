"""The third-octave filters of ISO 532-1:2017 and the smoothed levels behind them.

Sound is resampled to the 48 kHz of the standard's filters; what is not there at a low rate (above
4 kHz at 8 kHz) has no level. Bands are numbered 0 (25 Hz) to 27 (12.5 kHz); pressures are in units
of 20 µPa, powers in their square.

Where this departs from the text of the standard: a band is filtered by the standard's own response
but over the discrete Fourier transform, and is kept at a lower rate where it is low.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import gcd

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import signal

from sonicrx_ml import zwicker
from sonicrx_ml.acoustics import Floats, Samples

RATE = 48_000  # Hz, of the standard's filters
RATES = (8_000, 192_000)  # Hz, legal
TICK = 24  # samples: levels are read every half millisecond
FRAME = 3 * 2**17  # samples filtered at a time, 8.2 s
WARM_UP = 72_000  # of these samples are thrown away: the 25 Hz filter rings for a second
HOP = FRAME - WARM_UP
LEAST_S = 0.01  # of sound
PEAK_LIMIT = 1000.0  # above it samples are integers or a broken file, not sound

Single = NDArray[np.float32]


def pressures(samples: Samples, rate: int, full_scale_db_spl: float) -> Single:
    """Channels (c, n) at 48 kHz in units of 20 µPa."""
    rows = np.atleast_2d(samples)
    if rows.ndim != 2 or rows.shape[0] not in (1, 2):
        raise ValueError(f"samples of shape {np.shape(samples)}; legal are (n,), (1, n) and (2, n)")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate {rate} Hz; legal are {RATES[0]} to {RATES[1]} Hz")
    if rows.shape[1] < LEAST_S * rate:
        raise ValueError(f"{rows.shape[1] / rate:.4f} s of sound; legal is {LEAST_S} s or more")
    if not np.isfinite(rows).all():
        raise ValueError("samples hold NaN or infinity; legal are finite values")
    if (peak := float(np.abs(rows).max())) > PEAK_LIMIT:
        raise ValueError(f"samples up to {peak:g}; full scale is 1.0, legal is up to {PEAK_LIMIT}")
    if not np.isfinite(full_scale_db_spl):
        raise ValueError(f"full_scale_db_spl {full_scale_db_spl}; legal are finite levels")
    scaled = rows.astype(np.float32) * np.float32(np.sqrt(2) * 10 ** (full_scale_db_spl / 20))
    if rate == RATE:
        return scaled
    common = gcd(rate, RATE)
    return signal.resample_poly(scaled, RATE // common, rate // common, axis=1)


def spectra(rows: Single) -> Iterator[NDArray[np.complex64]]:
    """Spectra (c, FRAME / 2 + 1) of frames that bring HOP new samples each; the last has zeros."""
    count = -(-(rows.shape[1] + WARM_UP) // HOP)
    padded = np.pad(rows, ((0, 0), (WARM_UP, count * HOP - rows.shape[1])))
    for start in range(0, count * HOP, HOP):
        yield scipy.fft.rfft(padded[:, start : start + FRAME])


def _hertz(band: int) -> float:
    return float(1000.0 * 10 ** ((band - 16) / 10))


def step(band: int) -> int:
    """Samples at 48 kHz from one to the next that a band keeps: it keeps three times its centre."""
    return max(s for s in (1, 2, 4, 8, 12, 24) if s == 1 or 6 * s * _hertz(band) <= RATE)


@cache
def _response(band: int) -> NDArray[np.complex64]:
    """Response of a third-octave filter at the bins that the band keeps.

    It is late by so much that of TICK samples the last falls on the tick, and that the smoothing,
    which a step of `step` makes faster by half of itself in each of three stages, is in time.
    """
    every = step(band)
    gain, *less = zwicker.FILTERS[band]
    poles = np.array([1.0, -2.0, 1.0]) - np.pad(np.reshape(less, (3, 2)), ((0, 0), (1, 0)))
    hz = np.arange(FRAME // (2 * every) + 1) * RATE / FRAME
    sections = np.hstack([zwicker.NUMERATORS, poles])
    late = (TICK - every + 1.5 * (every - 1)) / RATE
    response = signal.freqz_sos(sections, worN=hz, fs=RATE)[1] * np.exp(-2j * np.pi * hz * late)
    return (gain / every * response).astype(np.complex64)


def band_pass(spectrum: NDArray[np.complex64], band: int) -> Single:
    """One frame of a third octave, (c, FRAME / step), of the frame's spectrum."""
    response = _response(band)
    return scipy.fft.irfft(spectrum[:, : len(response)] * response, FRAME // step(band))


@cache
def _smoother(band: int) -> tuple[Single, Floats]:
    """Three one-pole low-passes read once a tick: weights (TICK / step, 3) of the samples of this
    tick and the two before, and the denominator of the recursion from tick to tick.
    """
    tau = 2 / (3 * min(_hertz(band), 1000.0))
    count = TICK // step(band)
    pole = np.exp(-TICK / (count * RATE * tau))
    one = (1 - pole) * pole ** np.arange(count)
    taps = np.convolve(np.convolve(one, one), one)
    weights = np.pad(taps, (0, 3 * count - len(taps))).reshape(3, count)[:, ::-1].T
    return weights.astype(np.float32), np.poly(3 * [pole**count]).astype(np.float64)


def level(spectrum: NDArray[np.complex64], band: int) -> Floats:
    """Smoothed power (c, FRAME / TICK) of a third octave at every tick, in (20 µPa)²."""
    weights, recursion = _smoother(band)
    squares = (band_pass(spectrum, band) ** 2).reshape(len(spectrum), -1, len(weights))
    drive = squares @ weights
    smooth = drive[:, :, 0].astype(np.float64)
    smooth[:, 1:] += drive[:, :-1, 1]
    smooth[:, 2:] += drive[:, :-2, 2]
    return signal.lfilter([1.0], recursion, smooth)
