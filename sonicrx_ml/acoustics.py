"""Measurements on waveforms, each after its standard.

Conventions
-----------
* `samples` is a float array of one (n,) or two (2, n) front channels, full scale 1.0; `rate` in Hz.
* Levels are in LUFS, LU and dBTP. Silence is `-inf`, never NaN.
* A `Curve` gives its values at the *centres* of its windows, in seconds. Windows with nothing to
  measure are left out; only `tempo.tempo_near` keeps them, as NaN: no tempo was found there.
* What is no sound (NaN, infinity, integers, a strange shape or rate, too short) is a ValueError.
  A constant (DC) is no sound either: K-weighting removes it, and so does all that is not a level.
* Nothing here knows of MIDI, prescriptions or rendering: sound in, figures out.

Sources: ITU-R BS.1770-5 (loudness), EBU Tech 3341 (momentary, short-term), EBU Tech 3342 (loudness
range). Beside it: `peaks` (true peak), `tempo`, `pulse`, `tonality`, `hearing`, `loudness` (sone,
acum), `roughness`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from sonicrx_ml.prescription import REFERENCE_LUFS

Floats = NDArray[np.float64]
Samples = NDArray[np.floating]

RATES = (8_000, 384_000)  # Hz
MOMENTARY_S = 0.4  # EBU Tech 3341
SHORT_TERM_S = 3.0  # EBU Tech 3341
STEP_S = 0.1  # both are read every 100 ms: 75 % overlap of the 400 ms blocks (BS.1770-5)
PART_S = 4.0  # of sound worked on at once: so much stays in a processor's cache
FINE_STEP_S = 0.01  # for the momentary maximum, which 100 ms could miss by .6 LU
ABSOLUTE_GATE = -70.0  # LUFS, BS.1770-5
INTEGRATED_GATE = -10.0  # LU below the ungated level, BS.1770-5
RANGE_GATE = -20.0  # LU below the ungated level, EBU Tech 3342
RANGE_PERCENTILES = (10, 95)  # EBU Tech 3342

SILENCE_DBFS = -80.0  # a frame whose RMS is below has no timbre
FRAMES_AT_ONCE = 256  # of a spectrogram


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A quantity over time: `values[i]` in `unit` for the window centred on `times[i]` seconds."""

    times: Floats
    values: Floats
    unit: str

    def at(self, seconds: ArrayLike) -> Floats:
        """Linear interpolation, held constant beyond both ends."""
        return np.interp(np.asarray(seconds, dtype=np.float64), self.times, self.values)


def checked(samples: Samples, rate: int) -> Samples:
    """Samples as rows (channels, n); ValueError for what no measurement here can be made of."""
    rows = np.atleast_2d(samples)
    if rows.ndim != 2 or rows.shape[0] not in (1, 2):
        raise ValueError(f"samples of shape {np.shape(samples)}; legal are (n,), (1, n) and (2, n)")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"samples of type {rows.dtype}; legal are floats of full scale 1.0")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate {rate} Hz; legal are {RATES[0]} to {RATES[1]}")
    if rows.shape[1] == 0:
        raise ValueError("0 samples of sound; legal are one or more")
    if not np.isfinite([rows.min(), rows.max()]).all():
        raise ValueError("samples hold NaN or infinity; legal are finite ones")
    return rows


def require(rows: Samples, rate: int, seconds: float) -> None:
    """ValueError for a sound shorter than `seconds`."""
    if rows.shape[1] < round(seconds * rate):
        raise ValueError(f"{rows.shape[1] / rate:.3f} s of sound; legal is {seconds} s or more")


def mono_of(samples: Samples, rate: int, seconds: float) -> Samples:
    """The mean of the channels, less its mean, which is no sound."""
    rows = checked(samples, rate)
    require(rows, rate, seconds)
    mono = rows.mean(axis=0)
    mono -= mono.mean(dtype=np.float64).astype(mono.dtype)
    return mono


def decibel(power: ArrayLike) -> Floats:
    """10·log10 of a power, with `-inf` for 0."""
    linear = np.asarray(power, dtype=np.float64)
    return 10.0 * np.log10(linear, out=np.full_like(linear, -np.inf), where=linear > 0)


# ---------------------------------------------------------------- loudness


@cache
def k_weighting(rate: int) -> Floats:
    """The K-weighting of BS.1770-5 as second-order sections (2, 6), for any rate in Hz.

    The standard tabulates it for 48 kHz. Its two stages are bilinear transforms of a high shelf and
    a high-pass whose analogue parameters B. De Man recovered ("Evaluation of implementations of the
    EBU R128 loudness measurement", AES 2018); at 48 kHz they give the table back to 9 digits. The
    table's high-pass has the numerator 1, -2, 1: a pass-band gain of 1.005, kept here at any rate.
    """
    shelf, boost, shelf_q = 1681.974450955533, 10 ** (3.999843853973347 / 20), 0.7071752369554196
    low, low_q = 38.13547087602444, 0.5003270373238773
    slope = boost**0.4996667741545416 / shelf_q
    warped_48k = np.tan(np.pi * low / 48_000)
    gain = 1 + warped_48k / low_q + warped_48k**2
    stages = (
        ([boost, slope, 1.0], [1.0, 1 / shelf_q, 1.0], shelf),
        ([gain, 0.0, 0.0], [1.0, 1 / low_q, 1.0], low),
    )
    return np.array(
        [
            np.concatenate(signal.bilinear(top, bottom, fs=0.5 / np.tan(np.pi * corner / rate)))
            for top, bottom, corner in stages
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """K-weighted energy of a sound, from which BS.1770 and EBU Tech 3341 and 3342 are read.

    Measured once where several figures of one sound are wanted; the functions below measure anew.
    """

    energy: Floats
    """(bins,): sum of squares of every `FINE_STEP_S`, over the channels."""
    edges: NDArray[np.int64]
    """(bins + 1,): samples between which the bins lie."""
    seconds: float
    """Length of the sound."""

    def louder(self, gain_db: float) -> Weighted:
        """The same after a plain gain."""
        return replace(self, energy=self.energy * 10 ** (gain_db / 10))

    def power(self, window_s: float, step_s: float = STEP_S) -> Floats:
        """Mean power, summed over channels, of every window of `window_s`, one per `step_s`."""
        width, step = round(window_s / FINE_STEP_S), round(step_s / FINE_STEP_S)
        whole = len(self.energy) // step * step
        if whole < width:
            raise ValueError(f"{self.seconds:.3f} s of sound; legal is {window_s} s or more")
        total = np.concatenate([[0.0], np.cumsum(self.energy)])
        first = np.arange(0, whole - width + 1, step)
        last = first + width
        return (total[last] - total[first]).clip(0.0) / (self.edges[last] - self.edges[first])

    def levels(self, window_s: float, step_s: float = STEP_S) -> Curve:
        """Loudness in LUFS of every window of `window_s`, one per `step_s`."""
        values = lufs(self.power(window_s, step_s))
        return Curve(window_s / 2 + step_s * np.arange(len(values), dtype=float), values, "LUFS")

    @property
    def integrated(self) -> float:
        """Gated programme loudness in LUFS (BS.1770-5); `-inf` when nothing passes the gates."""
        gated = _gated(self.power(MOMENTARY_S), INTEGRATED_GATE)
        return float(lufs(gated.mean())) if len(gated) else -np.inf

    @property
    def range(self) -> float:
        """Loudness range in LU (EBU Tech 3342); 0 for silence. Not meant for less than a minute."""
        gated = _gated(self.power(SHORT_TERM_S), RANGE_GATE)
        if len(gated) == 0:
            return 0.0
        low, high = np.percentile(lufs(gated), RANGE_PERCENTILES)
        return float(high - low)

    @property
    def max_momentary(self) -> float:
        """Highest loudness of any 400 ms in LUFS (EBU Tech 3341), to .06 LU: read every 10 ms."""
        return float(lufs(self.power(MOMENTARY_S, FINE_STEP_S).max()))

    @property
    def max_short_term(self) -> float:
        """Highest loudness of any 3 s in LUFS (EBU Tech 3341)."""
        return float(lufs(self.power(SHORT_TERM_S).max()))


def k_weighted(samples: Samples, rate: int) -> Weighted:
    """K-weighted energy of a sound, a few seconds of it at a time."""
    rows = checked(samples, rate)
    bins = int(rows.shape[1] / (rate * FINE_STEP_S) + 1e-9)
    edges = np.rint(np.arange(bins + 1) * rate * FINE_STEP_S).astype(np.int64)
    energy, state = np.empty(bins), np.zeros((2, len(rows), 2))
    some = round(PART_S / FINE_STEP_S)
    for first in range(0, bins, some):
        at = edges[first : first + some + 1]
        part = rows[:, at[0] : at[-1]].astype(np.float64)
        part, state = signal.sosfilt(k_weighting(rate), part, axis=1, zi=state)
        squares = np.einsum("cn,cn->n", part, part)
        energy[first : first + some] = np.add.reduceat(squares, at[:-1] - at[0])
    return Weighted(energy, edges, rows.shape[1] / rate)


def lufs(power: ArrayLike) -> Floats:
    """Loudness in LUFS of a K-weighted power (BS.1770-5)."""
    return -0.691 + decibel(power)


def _gated(power: Floats, relative_gate: float) -> Floats:
    """The windows above the absolute gate and above the gate relative to what that one lets by."""
    audible = power[lufs(power) > ABSOLUTE_GATE]
    if len(audible) == 0:
        return audible
    return audible[lufs(audible) > lufs(audible.mean()) + relative_gate]


def integrated_loudness(samples: Samples, rate: int) -> float:
    """Gated programme loudness in LUFS (BS.1770-5); `-inf` when nothing passes the gates."""
    return k_weighted(samples, rate).integrated


def momentary_loudness(samples: Samples, rate: int) -> Curve:
    """Loudness of 400 ms windows, every 100 ms (EBU Tech 3341)."""
    return k_weighted(samples, rate).levels(MOMENTARY_S)


def short_term_loudness(samples: Samples, rate: int) -> Curve:
    """Loudness of 3 s windows, every 100 ms (EBU Tech 3341)."""
    return k_weighted(samples, rate).levels(SHORT_TERM_S)


def max_momentary_loudness(samples: Samples, rate: int) -> float:
    """Highest loudness of any 400 ms in LUFS (EBU Tech 3341)."""
    return k_weighted(samples, rate).max_momentary


def max_short_term_loudness(samples: Samples, rate: int) -> float:
    """Highest loudness of any 3 s in LUFS (EBU Tech 3341)."""
    return k_weighted(samples, rate).max_short_term


def loudness_range(samples: Samples, rate: int) -> float:
    """Loudness range in LU (EBU Tech 3342); 0 for silence. Not meant for less than a minute."""
    return k_weighted(samples, rate).range


def full_scale_level(playback_db_spl: float, channels: int) -> float:
    """Level in dB SPL, in each channel, of a full-scale sine when -23 LUFS is `playback_db_spl`.

    By BS.1770-5 a full-scale sine of 997 Hz is -3.01 LUFS in one channel; LUFS add the powers of
    the channels, so in two it is 0 LUFS. Each ear of a track that is the same in both, or that has
    one channel, then has the playback level.
    """
    if channels not in (1, 2):
        raise ValueError(f"{channels} channels; legal are 1 and 2")
    return playback_db_spl - REFERENCE_LUFS + 10.0 * float(np.log10(channels / 2))


# ---------------------------------------------------------------- timbre


def magnitudes(mono: Samples, frame: int, hop: int, bins: int) -> Iterator[NDArray[np.float32]]:
    """Magnitudes (frames, bins) of Hann-windowed frames, FRAMES_AT_ONCE; 1.0 is full scale."""
    window = signal.get_window("hann", frame).astype(np.float32)
    window *= 2.0 / window.sum()
    frames = sliding_window_view(mono, frame)[::hop]
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        part = frames[first : first + FRAMES_AT_ONCE].astype(np.float32)
        yield np.abs(scipy.fft.rfft(part * window)[:, :bins])


def spectral_centroid(samples: Samples, rate: int, *, window_s: float = 0.05) -> Curve:
    """Magnitude-weighted mean frequency in Hz, windows half overlapping; none below -80 dBFS."""
    mono = mono_of(samples, rate, window_s)
    frame = round(window_s * rate)
    hop = frame // 2
    hz = scipy.fft.rfftfreq(frame, 1.0 / rate)
    sums = [
        ((magnitude**2).sum(axis=1), magnitude @ hz, magnitude.sum(axis=1))
        for magnitude in magnitudes(mono, frame, hop, frame // 2 + 1)
    ]
    power, moment, total = (np.concatenate(column) for column in zip(*sums, strict=True))
    audible = decibel(power / 3.0) > SILENCE_DBFS
    times = (np.flatnonzero(audible) * hop + frame / 2) / rate
    return Curve(times, moment[audible] / total[audible], "Hz")
