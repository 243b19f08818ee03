"""Attacks, pulse and breathing: how a sound begins its notes, how clear its beat is, how it swells.

Conventions are those of `acoustics`: samples (n,) or (2, n) at full scale 1.0, rate in Hz, a
`Curve` at the centres of its windows. None of the three has a standard; each is tested on sounds
made with a known attack, beat or swell.

Sources: Peeters, "A large set of audio features", CUIDADO report, 2004 (attack time); Lartillot,
Eerola, Toiviainen & Fornari, "Multi-feature modeling of pulse clarity", ISMIR 2008 (the maximum of
the onset curve's autocorrelation); Leslie et al. 2019 (loudness that breathes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import signal

from sonicrx_ml.acoustics import (
    ABSOLUTE_GATE,
    MOMENTARY_S,
    PART_S,
    STEP_S,
    Curve,
    Floats,
    Samples,
    checked,
    decibel,
    momentary_loudness,
    require,
)
from sonicrx_ml.breathing import half_cosines
from sonicrx_ml.tempo import ONSET_RATE, onset_strength

Ints = NDArray[np.int64]

ENVELOPE_RATE = 1000  # Hz
ENVELOPE_S = 0.021  # Hann window over the power: an attack reads 7 ms at least
ATTACK_RISE = 3.0  # dB that a note must stand out from what is before and after it
ATTACK_APART_S = 0.05  # between the peaks of two attacks
ATTACK_FLOOR = -50.0  # dB below the loudest instant; what is below has no attack
ATTACK_LEAST = 1e-4  # amplitude; -80 dBFS
ATTACK_SHARES = (0.1, 0.9)  # of the rise in amplitude, between which it is timed

PULSE_BPM = (40.0, 200.0)  # Lartillot et al. 2008, as in MIRtoolbox
PULSE_LEAST_S = 4.0

BREATH_HZ = (0.05, 0.25)  # 3 to 15 breaths a minute
BREATHS = 2.0  # cycles of the slowest that a sound must hold
ORDERS = (0.6, 1.6)  # heard breaths for each asked, between which a swell is searched
HARMONICS = 3  # of a breath: those of half cosines are softer than a twentieth from the fourth on
SAME_BREATHS = 0.25  # less cannot be told apart from the asked rate
FOLDED = 360  # places within a mean breath
SWELL_FLOOR = -20.0  # LU
OVERSAMPLING = 8  # of the spectrum that the rate is read from


@dataclass(frozen=True, slots=True)
class Breathing:
    """The strongest slow sinusoid in the loudness (in dB) of a sound."""

    rate_hz: float
    """Swells per second."""
    depth_db: float
    """From trough to crest."""
    share: float
    """Of the variance of the loudness below the search's upper bound (0-1); near 0, no breath."""


def attack_times(samples: Samples, rate: int) -> Curve:
    """Milliseconds of each attack, at the second when it has risen; empty where nothing attacks.

    An attack leads to a peak of the smoothed amplitude that stands out by `ATTACK_RISE`. It is
    timed between a tenth and nine tenths of the rise, so a straight ramp reads .8 of its length.
    """
    amplitude = np.sqrt(_envelope(samples, rate))
    floor = max(amplitude.max() * 10 ** (ATTACK_FLOOR / 20), ATTACK_LEAST)
    level = 2 * decibel(np.concatenate([[floor], np.maximum(amplitude, floor), [floor]]))
    apart = round(ATTACK_APART_S * ENVELOPE_RATE)
    peaks = signal.find_peaks(level, prominence=ATTACK_RISE, distance=apart)[0] - 1
    if len(peaks) == 0:
        return Curve(np.empty(0), np.empty(0), "ms")
    began, risen = _rises(amplitude, peaks)
    return Curve(risen / ENVELOPE_RATE, (risen - began) * 1000.0 / ENVELOPE_RATE, "ms")


def _envelope(samples: Samples, rate: int) -> Floats:
    """Smoothed power, `ENVELOPE_RATE` times a second."""
    rows = checked(samples, rate)
    require(rows, rate, ENVELOPE_S)
    bins = int(rows.shape[1] * ENVELOPE_RATE / rate)
    edges = np.rint(np.arange(bins) * rate / ENVELOPE_RATE).astype(np.int64)
    edges = np.append(edges, rows.shape[1])
    middle, power = rows.mean(axis=1, keepdims=True), np.empty(bins)
    some = round(PART_S * ENVELOPE_RATE)
    for first in range(0, bins, some):
        at = edges[first : first + some + 1]
        centred = rows[:, at[0] : at[-1]] - middle
        squares = np.einsum("cn,cn->n", centred, centred)
        power[first : first + some] = np.add.reduceat(squares, at[:-1] - at[0])
    power *= ENVELOPE_RATE / rate
    window = signal.get_window("hann", round(ENVELOPE_S * ENVELOPE_RATE), fftbins=False)
    smooth = signal.oaconvolve(power, window / window.sum(), mode="same")
    return smooth.clip(0.0)


def _rises(amplitude: Floats, peaks: Ints) -> tuple[Ints, Ints]:
    """Indices where the rises to the peaks leave the first share and reach the last one."""
    amplitude = amplitude[: peaks[-1] + 1]
    index = np.arange(len(amplitude))
    starts = np.concatenate([[0], peaks[:-1] + 1])
    note = np.searchsorted(peaks, index)
    valley = np.minimum.reduceat(amplitude, starts)
    low, high = (valley + share * (amplitude[peaks] - valley) for share in ATTACK_SHARES)
    trough = np.maximum.reduceat(np.where(amplitude <= valley[note], index, -1), starts)
    up = (index >= trough[note]) & (amplitude >= high[note])
    risen = np.minimum.reduceat(np.where(up, index, len(index)), starts)
    down = (index < risen[note]) & (amplitude <= low[note])
    began = np.maximum.reduceat(np.where(down, index, 0), starts)
    rises = amplitude[peaks] > valley * 10 ** (ATTACK_RISE / 20)  # equal peaks of a steady tone
    return began[rises], risen[rises]


def pulse_clarity(samples: Samples, rate: int) -> float:
    """How well the onsets repeat after one beat of 40 to 200 BPM: 0 (not at all) to 1 (exactly).

    The largest autocorrelation of the onset curve at such a lag, over that at lag 0; 0 for silence.
    """
    require(checked(samples, rate), rate, PULSE_LEAST_S)
    return clarity_of(onset_strength(samples, rate))


def clarity_of(onsets: Curve) -> float:
    """Pulse clarity of a sound whose onset curve is at hand."""
    spectrum = scipy.fft.rfft(onsets.values, 2 * len(onsets.values))
    likeness = scipy.fft.irfft(np.abs(spectrum) ** 2)
    if likeness[0] <= 0:
        return 0.0
    slow, fast = (round(ONSET_RATE * 60 / bpm) for bpm in PULSE_BPM)
    return float(np.clip(likeness[fast : slow + 1].max() / likeness[0], 0.0, 1.0))


def breathing(
    samples: Samples, rate: int, *, low_hz: float = BREATH_HZ[0], high_hz: float = BREATH_HZ[1]
) -> Breathing:
    """Rate and depth of the slow swell of the loudness, searched from `low_hz` to `high_hz`.

    The momentary loudness from the first to the last audible instant, less its straight trend and
    what is faster than `high_hz`, is fitted with the sinusoid that its Hann-windowed spectrum is
    highest at. ValueError for silence.
    """
    return breathing_of(momentary_loudness(samples, rate).values, low_hz=low_hz, high_hz=high_hz)


def breathing_of(
    level: Floats, *, low_hz: float = BREATH_HZ[0], high_hz: float = BREATH_HZ[1]
) -> Breathing:
    """Breathing of a sound whose momentary loudness in LUFS, every `STEP_S`, is at hand."""
    if not 0 < low_hz < high_hz <= 0.5 / MOMENTARY_S:
        raise ValueError(f"{low_hz} to {high_hz} Hz; legal are rising, 0 to {0.5 / MOMENTARY_S}")
    audible = np.flatnonzero(level > ABSOLUTE_GATE)
    steps = int(audible[-1] - audible[0] + 1) if len(audible) else 0
    if steps * STEP_S * low_hz < BREATHS:
        need = BREATHS / low_hz
        raise ValueError(f"{steps * STEP_S:.1f} s of audible sound; legal is {need:.1f} s or more")
    level = np.maximum(level[audible[0] : audible[-1] + 1], ABSOLUTE_GATE)
    swell = _slow(signal.detrend(level), high_hz)
    hz = _strongest(swell, low_hz, high_hz)
    phase = 2 * np.pi * hz * STEP_S * np.arange(steps)
    waves = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    parts = np.linalg.lstsq(waves, swell, rcond=None)[0]
    spread = float(swell @ swell)
    share = 1.0 - float(np.sum((swell - waves @ parts) ** 2)) / spread if spread > 0 else 0.0
    depth = 2 * float(np.hypot(*parts)) / float(np.sinc(hz * MOMENTARY_S))
    return Breathing(hz, depth, share)


def _slow(level: Floats, high_hz: float) -> Floats:
    """What of a signal of a sample per `STEP_S` is not faster than `high_hz`."""
    spectrum = scipy.fft.rfft(level)
    spectrum[scipy.fft.rfftfreq(len(level), STEP_S) > high_hz] = 0
    return scipy.fft.irfft(spectrum, len(level))


def _strongest(swell: Floats, low_hz: float, high_hz: float) -> float:
    """Frequency in Hz within the bounds where a signal of a sample per `STEP_S` is strongest."""
    size = OVERSAMPLING * len(swell)
    power = np.abs(scipy.fft.rfft(swell * signal.get_window("hann", len(swell)), size)) ** 2
    first, last = round(low_hz * STEP_S * size), round(high_hz * STEP_S * size)
    best = first + int(np.argmax(power[first : last + 1]))
    left, top, right = power[best - 1 : best + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 and first < best < last else 0.0
    return float(np.clip((best + shift) / (size * STEP_S), low_hz, high_hz))


# ---------------------------------------------------------------- a swell that was asked for


@dataclass(frozen=True, slots=True)
class Swell:
    """The mean breath of a sound whose loudness should breathe at a given rate."""

    ratio: float
    """Breaths that are heard for each one asked."""
    depth_db: float
    """From trough to crest of the mean breath."""
    inhale: float
    """Share of the breath in which it rises, by the breath of half cosines that it is likest."""
    share: float
    """Of the variance of the slow loudness (0-1)."""


def swell_of(level: Floats, breaths: Floats) -> Swell:
    """The swell in momentary loudness (LUFS), given the breaths asked until each value.

    The loudness is laid over breaths instead of seconds, so that a rate which glides becomes a
    steady one; there the rate is searched from .6 to 1.6 of what was asked, as in `breathing_of`.
    The mean breath is the least-squares fit of its first `HARMONICS` at that rate, or at the asked
    one where over the whole sound the two part by less than `SAME_BREATHS`.
    """
    count = len(level)
    even = np.linspace(breaths[0], breaths[-1], count)
    steady = signal.detrend(np.interp(even, breaths, audible_level(level)))
    ratio = _strongest_order(steady, even)
    drift = abs(ratio - 1.0) * (even[-1] - even[0])
    waves = harmonics(even if drift < SAME_BREATHS else ratio * even)
    parts = np.linalg.lstsq(waves, steady, rcond=None)[0]
    phase = np.arange(FOLDED) / FOLDED
    mean = harmonics(phase) @ parts
    slow = np.sum((steady - steady.mean()) ** 2)
    share = 1.0 - float(np.sum((steady - waves @ parts) ** 2)) / float(slow) if slow > 0 else 0.0
    return Swell(ratio, float(np.ptp(mean)), _inhale(mean), share)


def _inhale(mean: Floats) -> float:
    """Share of the breath of half cosines that the mean breath is likest, wherever it begins."""
    phase = np.arange(FOLDED) / FOLDED
    shares = np.arange(0.1, 0.905, 0.01)
    models = np.stack([half_cosines(phase, share) for share in shares])
    models = (models - models.mean(axis=1, keepdims=True)) / models.std(axis=1, keepdims=True)
    likeness = scipy.fft.irfft(scipy.fft.rfft(mean) * scipy.fft.rfft(models).conj(), FOLDED)
    return float(shares[np.argmax(likeness.max(axis=1))])


def audible_level(level: Floats) -> Floats:
    """Momentary loudness in which rests count as `SWELL_FLOOR` LU below the mean power."""
    power = 10.0 ** (level / 10.0)
    mean = 10.0 * np.log10(max(float(power.mean()), 1e-12))
    return np.maximum(level, mean + SWELL_FLOOR)


def about_as_fast(level: Floats, breaths: Floats) -> Floats:
    """What of a level (n,) moves as fast as a breath may be heard to: `ORDERS` of the asked rate.

    breaths : asked until each value; they increase.
    """
    even = np.linspace(breaths[0], breaths[-1], len(level))
    steady = np.interp(even, breaths, level)
    there_and_back = np.concatenate([steady, steady[::-1]])  # so that the ends meet
    order = scipy.fft.rfftfreq(len(there_and_back), even[1] - even[0])
    spectrum = scipy.fft.rfft(there_and_back)
    spectrum[(order < ORDERS[0]) | (order > ORDERS[1])] = 0
    kept = scipy.fft.irfft(spectrum, len(there_and_back))[: len(level)]
    return np.interp(breaths, even, kept)


def harmonics(breaths: Floats) -> Floats:
    """(n, 2·HARMONICS): cosines and sines of the first harmonics of a number of breaths (n,)."""
    turns = 2 * np.pi * breaths[:, None] * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)


def _strongest_order(steady: Floats, even: Floats) -> float:
    """Breaths heard for each one asked: where the spectrum over breaths is highest."""
    low, high = ORDERS
    found = np.arange(low, high, 0.002)
    window = signal.get_window("hann", len(steady), fftbins=False)
    turns = np.exp(-2j * np.pi * found[:, None] * even)
    return float(found[np.argmax(np.abs(turns @ (window * steady)))])
