"""Roughness in asper and fluctuation strength in vacil, over time.

Both models share their first half. The spectrum of a frame is weighted by the outer and middle ear;
each component above the threshold in quiet excites 47 channels, one Bark wide and half a Bark
apart, along Terhardt's slopes (27 dB/Bark below it; above it flatter the louder it is); each
channel's rectified excitation is an envelope, whose spectrum is weighted by how much each rate of
modulation is felt. What is left, against the envelope's mean, is a modulation depth; what channels
one Bark apart have in common counts, what is independent in them does not.

* Roughness: P. Daniel and R. Weber, "Psychoacoustical roughness: implementation of an optimized
  model", Acustica 83 (1997) 113-123; 200 ms frames, every 100 ms. The curves are read off the
  paper's figures as MoSQITo 1.2.1 has them (Apache-2.0; `roughness_dw`), modulation up to 500 Hz.
  Limits: at 20 Hz of modulation the model says a fifth less than Zwicker & Fastl's listeners.
* Fluctuation strength: A. Osses, R. García León and A. Kohlrausch, "Modelling the sensation of
  fluctuation strength", Proc. Mtgs. Acoust. 28 (2016) 050005; 2 s frames, every second. Limits: the
  model is fitted to tones and noises modulated at one rate. Its rate weighting is flat within 4 %
  from 3 to 8 Hz, so its peak is broad; the ramps of its frame give a steady tone .01 to .03 vacil.
  White noise at 60 dB, modulated at 4 Hz, has 3.8 vacil: Fastl & Zwicker's equation 10.2 says 3.7,
  the data that Osses et al. quote 1.8.

Conventions
-----------
* `samples` is a float array (n,) or (2, n), full scale 1.0, at 8 to 192 kHz. No resampler is
  needed: a frame's spectrum is cut at 24 Bark (15.5 kHz), its envelopes are made at 16 to 32 kHz.
* `full_scale_db_spl` is the level of a sine of peak 1.0 in one channel; from the level at which a
  -23 LUFS track is played, `acoustics.full_scale_level` gives it. Both figures rise with it.
* Each channel is one ear's. Two ears combine as the root of their mean square: ECMA-418-2's rule
  for binaural roughness.
* Longer sounds are analysed in `excerpts` of 2 s, evenly spread from the first sample to the last;
  `excerpts=None` takes the whole. The times of a `Curve` tell where its values stand.
* Sound below 20 Hz and a frame's mean are left out: a DC offset is not heard. Silence is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import signal

from sonicrx_ml.acoustics import Curve, Floats, Samples

Reals = NDArray[np.float32]
Complexes = NDArray[np.complex64]

RATES = (8_000, 192_000)  # Hz
LEVELS = (0, 200)  # dB SPL
LOUDEST = 1000.0  # samples beyond are integers or noise of a broken file, not sound
EXCERPT_S = 2.0
EXCERPTS = 20
PRESSURE = 2e-5  # Pa, 0 dB SPL

CHANNELS = np.arange(1, 48) / 2  # Bark, centres
ENVELOPE_RATES = (16_000, 32_000)  # Hz: six times the highest component of a channel, within these
AUDIBLE = (20.0, 15_500.0)  # Hz; 15.5 kHz is 24 Bark
LOWER_SLOPE = -27.0  # dB/Bark (Terhardt 1979)
REACH = 4.0  # Bark below a component: the slope of one of 104 dB has met the threshold in quiet
NEPER = np.log(10.0) / 20.0  # per dB
BATCH = 200_000  # samples of the frames taken at once: few enough for the cache
SMALLEST = 1e-30  # in the place of 0 under a division

# fmt: off
# Zwicker & Fastl, "Psychoacoustics" (1990): table 6.1 (Hz at every half Bark), figure 8.18 (outer
# and middle ear, dB at Bark); the threshold in quiet in Daniel & Weber's reading, dB SPL at Bark.
HALF_BARKS = (
    0, 50, 100, 150, 200, 250, 300, 350, 400, 450, 510, 570, 630, 700, 770, 840, 920, 1000, 1080,
    1170, 1270, 1370, 1480, 1600, 1720, 1850, 2000, 2150, 2320, 2500, 2700, 2900, 3150, 3400, 3700,
    4000, 4400, 4800, 5300, 5800, 6400, 7000, 7700, 8500, 9500, 10500, 12000, 13500, 15500,
)
EAR = (
    (10, 12, 13, 14, 15, 16, 16.5, 17, 18, 18.5, 19, 20, 21, 21.5, 22, 22.5, 23, 23.5, 24),
    (0, 1.15, 2.31, 3.85, 5.62, 6.92, 7.38, 6.92, 4.23, 2.31, 0, -1.43, -2.59, -3.57, -5.19, -7.41,
     -11.3, -20, -40),
)
QUIET = (
    (0, 0.01, 0.17, 0.8, 1, 1.5, 2, 3.3, 4, 5, 6, 8, 10, 12, 13.3, 15, 16, 17, 18, 19, 20, 21, 22,
     23, 24),
    (130, 70, 60, 30, 25, 20, 15, 10, 8.1, 6.3, 5, 3.5, 2.5, 1.7, 0, -2.5, -4, -3.7, -1.5, 1.4, 3.8,
     5, 7.5, 15, 48),
)

# Daniel & Weber 1997, figure 2: the first channel of each curve, rates in Hz and their weights.
ROUGH_RATES = (
    (0, (0, 17, 23, 25, 32, 37, 48, 67, 90, 114, 171, 206, 247, 294, 358),
     (0, .8, .95, .975, 1, .975, .9, .8, .7, .6, .4, .3, .2, .1, 0)),
    (4, (0, 32, 43, 56, 69, 92, 120, 142, 165, 231, 277, 331, 397, 502),
     (0, .8, .95, 1, .975, .9, .8, .7, .6, .4, .3, .2, .1, 0)),
    (15, (0, 23.5, 34, 47, 56, 63, 79, 100, 115, 135, 159, 172, 194, 215, 244, 290, 348, 415, 500),
     (0, .4, .6, .8, .9, .95, 1, .975, .95, .9, .85, .8, .7, .6, .5, .4, .3, .2, .1)),
    (20, (0, 19, 44, 52.5, 58, 75, 101.5, 114.5, 132.5, 143.5, 165.5, 197.5, 241, 290, 348, 415,
          500),
     (0, .4, .8, .9, .95, 1, .95, .9, .85, .8, .7, .6, .5, .4, .3, .2, .1)),
    (41, (0, 15, 41, 49, 53, 64, 71, 88, 94, 106, 115, 137, 180, 238, 290, 348, 415, 500),
     (0, .4, .8, .9, .965, .99, 1, .95, .9, .85, .8, .7, .6, .5, .4, .3, .2, .1)),
)
ROUGH_BARKS = (  # Aures' weights at 0, 1, .. 24 Bark
    .15, .26, .38, .47, .54, .65, .76, .83, .90, .98, .98, .90, .80, .70, .62, .54, .49, .43, .39,
    .35, .30, .30, .30, .30, .30,
)
# fmt: on
ROUGH_MAX_HZ = 500.0  # of modulation
ASPER = 0.25  # so that 1 kHz, 60 dB, 100 % AM at 70 Hz is 1 (Daniel & Weber)

FLUCTUATION_STOPS = ((0.5, 17.5, -2), (20.0, 14.0, 4))  # Hz, dB there, order of a Butterworth slope
FLUCTUATION_MAX_HZ = 60.0  # of modulation: 52 dB below the top
FLUCTUATION_BARKS = ((11.5, 13, 15, 17.5, 24), (1, 1, 0.9, 0.7, 0.5))  # weights at Bark
FLUCTUATION_EXPONENT = 1.7
KNEE = 0.7  # of a depth above, 3/10 of the excess counts
VACIL = 0.2397  # so that 1 kHz, 60 dB, 100 % AM at 4 Hz is 1; the paper's .249 makes it 1.04 here


class Summary(NamedTuple):
    """Mean over time, and the values exceeded in 5 % and 10 % of it."""

    mean: float
    exceeded_5: float
    exceeded_10: float


def summary(curve: Curve) -> Summary:
    """The three figures that stand for a curve."""
    return Summary(float(curve.values.mean()), *map(float, np.percentile(curve.values, (95, 90))))


# ---------------------------------------------------------------- the two sensations


def roughness(
    samples: Samples, rate: int, *, full_scale_db_spl: float, excerpts: int | None = EXCERPTS
) -> Curve:
    """Roughness in asper of 200 ms frames every 100 ms (Daniel & Weber 1997).

    Raises `ValueError` for less than 200 ms, a rate outside RATES, a NaN or an infinite sample.
    """
    return _measure(_ROUGHNESS, samples, rate, full_scale_db_spl, excerpts)


def fluctuation_strength(
    samples: Samples, rate: int, *, full_scale_db_spl: float, excerpts: int | None = EXCERPTS
) -> Curve:
    """Fluctuation strength in vacil of 2 s frames, one an excerpt or one a second (Osses 2016).

    Raises `ValueError` for less than 2 s, a rate outside RATES, a NaN or an infinite sample.
    """
    return _measure(_FLUCTUATION, samples, rate, full_scale_db_spl, excerpts)


def _rough_rates(hz: Floats) -> Floats:
    """(47, rates): how much modulation at `hz` makes each channel rough; bins 0 and 1 do not."""
    rows = [np.interp(hz, at, weight, right=0.0) for _, at, weight in ROUGH_RATES]
    firsts = [first for first, _, _ in ROUGH_RATES]
    weights = np.repeat(rows, np.diff([*firsts, len(CHANNELS)]), axis=0)
    return weights * (np.arange(len(hz)) >= 2)


def _asper(depth: Floats, common: Floats) -> Floats:
    """Roughness (frames,) of modulation depths (frames, 47), channels i and i + 2 in `common`."""
    below, above = (
        np.pad(common, ((0, 0), side), constant_values=1.0) for side in ((2, 0), (0, 2))
    )
    weights = np.interp(CHANNELS, np.arange(25), ROUGH_BARKS)
    return ASPER * ((np.minimum(depth, 1.0) * below * above) ** 2) @ weights


def _fluctuation_rates(hz: Floats) -> Floats:
    """(1, rates): Butterworth band-pass, alike in every channel; nothing at 0 Hz."""
    power = np.ones(len(hz) - 1)
    for stop, decibels, order in FLUCTUATION_STOPS:
        power /= 1.0 + (10 ** (decibels / 10) - 1.0) * (hz[1:] / stop) ** (2 * order)
    return np.sqrt(np.concatenate([[0.0], power]))[None]


def _vacil(depth: Floats, common: Floats) -> Floats:
    """Fluctuation strength (frames,) of depths (frames, 47) and of what channels have in common."""
    below, above = (np.pad(common, ((0, 0), side), mode="edge") for side in ((2, 0), (0, 2)))
    shared = below * above
    felt = np.minimum(np.minimum(depth, KNEE) + 0.3 * np.maximum(depth - KNEE, 0.0), 1.0)
    felt = (felt * np.abs(shared)) ** FLUCTUATION_EXPONENT * np.sign(shared)
    return np.maximum(VACIL * felt @ np.interp(CHANNELS, *FLUCTUATION_BARKS), 0.0)


@dataclass(frozen=True, slots=True)
class _Model:
    """What sets one sensation apart from the other."""

    unit: str
    frame_s: float
    step_s: float
    window: str | tuple[str, float]
    ear_canal: bool  # whether the resonance near 3 kHz is heard (Osses et al. leave it out)
    max_hz: float  # of modulation
    rates: Callable[[Floats], Floats]
    sensation: Callable[[Floats, Floats], Floats]


_ROUGHNESS = _Model("asper", 0.2, 0.1, "blackman", True, ROUGH_MAX_HZ, _rough_rates, _asper)
_FLUCTUATION = _Model(
    *("vacil", EXCERPT_S, 1.0, ("tukey", 0.05), False),  # ramps of 50 ms
    *(FLUCTUATION_MAX_HZ, _fluctuation_rates, _vacil),
)


# ---------------------------------------------------------------- frames


def _measure(
    model: _Model, samples: Samples, rate: int, full_scale_db_spl: float, excerpts: int | None
) -> Curve:
    """The sensation in every frame; two ears as the root of their mean square."""
    ears = _ears(samples, rate, full_scale_db_spl)
    length = round(model.frame_s * rate)
    if ears.shape[1] < length:
        raise ValueError(f"{ears.shape[1] / rate:.3f} s of sound; legal is {model.frame_s} s up")
    starts = _starts(ears.shape[1], length, round(model.step_s * rate), rate, excerpts)
    grid = _grid(model.ear_canal, model.max_hz, length, rate)
    window = signal.get_window(model.window, length, fftbins=False)
    pascal = np.sqrt(2.0) * PRESSURE * 10 ** (full_scale_db_spl / 20)
    window *= np.sqrt(2.0) * pascal / window.sum()
    squares = np.zeros(len(starts))
    for frames, at in _batches(ears, length, starts):
        spectra = scipy.fft.rfft(frames * window.astype(np.float32))[:, : len(grid.bark)]
        squares[at] += _sensation(model, grid, spectra) ** 2
    return Curve((starts + length / 2) / rate, np.sqrt(squares / len(ears)), model.unit)


def _ears(samples: Samples, rate: int, full_scale_db_spl: float) -> Samples:
    ears = np.atleast_2d(samples)
    if ears.ndim != 2 or ears.shape[0] not in (1, 2):
        raise ValueError(f"samples of shape {np.shape(samples)}; legal are (n,), (1, n) and (2, n)")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate {rate} Hz; legal are {RATES[0]} to {RATES[1]}")
    if not LEVELS[0] <= full_scale_db_spl <= LEVELS[1]:
        raise ValueError(
            f"full scale at {full_scale_db_spl} dB SPL; legal are {LEVELS[0]} to {LEVELS[1]}"
        )
    peak = max(float(ears.max(initial=0.0)), -float(ears.min(initial=0.0)))
    if not peak <= LOUDEST:
        raise ValueError(
            f"a sample of {peak}; legal are finite ones to ±{LOUDEST:g}, 1 is full scale"
        )
    return ears


def _starts(
    total: int, length: int, step: int, rate: int, excerpts: int | None
) -> NDArray[np.intp]:
    """First samples of the frames of the whole, or of `excerpts` evenly spread ones."""
    if excerpts is not None and excerpts < 1:
        raise ValueError(f"{excerpts} excerpts; legal are 1 or more, or None for the whole")
    excerpt = round(EXCERPT_S * rate)
    if excerpts is None or total <= excerpts * excerpt:
        return np.arange(0, total - length + 1, step)
    firsts = np.linspace(0, total - excerpt, excerpts).astype(np.intp)
    return (firsts[:, None] + np.arange(0, excerpt - length + 1, step)).ravel()


def _batches(ears: Samples, length: int, starts: NDArray[np.intp]) -> Iterator[tuple[Reals, slice]]:
    """Frames (f, length) without their mean, ear by ear, and where in `starts` they belong."""
    size = max(1, BATCH // length)
    for ear in ears:
        windows = sliding_window_view(ear, length)
        for first in range(0, len(starts), size):
            at = slice(first, first + size)
            frames = windows[starts[at]].astype(np.float32)
            yield frames - frames.mean(axis=1, keepdims=True), at


# ---------------------------------------------------------------- the ear


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """The bins of a spectrum as the ear has them: K bins up to 24 Bark, bin 0 is 0 Hz."""

    bark: Floats  # (K,)
    ear: Reals  # (K,) gain of the outer and middle ear
    quiet: Reals  # (K,) threshold in quiet, dB SPL
    upper: Reals  # (K,) upper slope of a component of 0 dB, dB/Bark
    tops: NDArray[np.intp]  # (47,) number of the lowest bins that can excite a channel
    samples: tuple[int, ...]  # (47,) of a channel's envelope
    modulation_hz: Floats  # (M,) rates of modulation, from 0


@cache
def _grid(ear_canal: bool, max_hz: float, length: int, rate: int) -> _Grid:
    hz = np.arange(length // 2 + 1) * rate / length
    hz = hz[hz < AUDIBLE[1]]
    bark = np.interp(hz, HALF_BARKS, np.arange(49) / 2)
    ear = np.interp(bark, *EAR) if ear_canal else np.minimum(np.interp(bark, *EAR), 0.0)
    quiet = np.where(hz < AUDIBLE[0], np.inf, np.interp(bark, *QUIET))
    upper = -24.0 - 230.0 / np.maximum(hz, AUDIBLE[0])
    tops = np.searchsorted(bark, CHANNELS + 0.5 + REACH)
    samples = np.clip(6 * hz[tops - 1], *ENVELOPE_RATES) * length / rate
    return _Grid(
        bark,
        (10 ** (ear / 20)).astype(np.float32),
        quiet.astype(np.float32),
        upper.astype(np.float32),
        tops,
        tuple(scipy.fft.next_fast_len(int(count), real=True) for count in samples),
        np.arange(0.0, max_hz, rate / length),
    )


def _sensation(model: _Model, grid: _Grid, spectra: Complexes) -> Floats:
    """Values (frames,) of spectra (frames, K), whose magnitude is a component's RMS in Pa."""
    weights = model.rates(grid.modulation_hz).astype(np.float32)
    heard = spectra * grid.ear
    level = 20.0 * np.log10(np.maximum(np.abs(heard), 1e-30) / np.float32(PRESSURE))
    heard[level <= grid.quiet] = 0.0
    mean, rates = _envelopes(heard, level, grid)
    rates *= weights
    power = np.einsum("fcm,fcm->fc", rates, rates.conj()).real.astype(np.float64)
    depth = np.sqrt(2.0 * power) / np.maximum(mean, SMALLEST)
    shared = np.einsum("fcm,fcm->fc", rates[:, :-2], rates[:, 2:].conj()).real
    return model.sensation(
        depth, shared / np.maximum(np.sqrt(power[:, :-2] * power[:, 2:]), SMALLEST)
    )


def _envelopes(heard: Complexes, level: Reals, grid: _Grid) -> tuple[Floats, Complexes]:
    """Mean (frames, 47) and low rates (frames, 47, M) of the channels' rectified excitations."""
    upper = np.minimum(grid.upper + 0.2 * level, 0.0)
    mean = np.empty((len(heard), len(CHANNELS)))
    rates = np.empty((*mean.shape, len(grid.modulation_hz)), np.complex64)
    for channel, (top, samples) in enumerate(zip(grid.tops, grid.samples, strict=True)):
        gain = _spread(level[:, :top], upper[:, :top], CHANNELS[channel], grid.bark[:top])
        envelope = np.abs(scipy.fft.irfft(heard[:, :top] * gain, samples, norm="forward"))
        mean[:, channel] = envelope.mean(axis=1)
        rates[:, channel] = scipy.fft.rfft(envelope, norm="forward")[:, : rates.shape[2]]
    return mean, rates


def _spread(level: Reals, upper: Reals, centre: float, bark: Floats) -> Reals:
    """Gain (frames, K) from components of `level` dB to the channel at `centre` Bark.

    Inside the channel it is 1; from outside, what is left of the component where its slope meets
    the channel's edge, and 0 where that is below the threshold in quiet.
    """
    low, high = centre - 0.5, centre + 0.5
    first = np.searchsorted(bark, low, side="right")
    last = np.searchsorted(bark, high, side="left")
    gain = np.ones_like(level)
    decibels = upper[:, :first] * (low - bark[:first]).astype(np.float32)
    gain[:, :first] = np.exp(np.float32(NEPER) * decibels)
    decibels += level[:, :first]
    gain[:, :first] *= decibels > np.interp(low, *QUIET)
    fall = (LOWER_SLOPE * (bark[last:] - high)).astype(np.float32)
    reaches = level[:, last:] > (np.interp(high, *QUIET) - fall).astype(np.float32)
    gain[:, last:] = reaches * np.exp(np.float32(NEPER) * fall)
    return gain
