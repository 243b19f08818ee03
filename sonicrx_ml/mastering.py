"""A rendered sound made ready to hear: no DC, the asked loudness, peaks under a ceiling, soft ends.

The order is DC block, cut, level ride, breathing, fades, gain, limiter; loudness is measured last,
on what will be heard. The ride is a slow hand on the fader: where more instruments join, or notes
thicken, music grows louder than its dynamics ask, and is turned down to them. Breathing adds to the
loudness what it lacks of the swell that is asked for.
The limiter looks ahead and only turns down around peaks over the ceiling; calm music at -23 LUFS
does not reach it. `Mastering` says what was done, `limited_db` 0 meaning a plain gain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from sonicrx_ml.acoustics import (
    MOMENTARY_S,
    SHORT_TERM_S,
    STEP_S,
    Curve,
    integrated_loudness,
    k_weighted,
    true_peak,
)
from sonicrx_ml.audio import Sound
from sonicrx_ml.breathing import Breath
from sonicrx_ml.pulse import HARMONICS, audible_level, harmonics

DC_CORNER = 10.0  # Hz
LOOK_AHEAD_S = 0.005
LIMITER_OVERSAMPLING = 4
LOUDNESS_TOLERANCE = 0.05  # LU
CEILING_MARGIN_DB = 0.05  # the limiter aims lower, since turning down moves the peaks a little
ROUNDS = 8  # of gain against limiter and gates
SILENT_PEAK = 1e-5  # -100 dBFS
RIDE_DB = 10.0  # the most that the ride turns up or down
BREATH_DB = 12.0  # the most that breathing turns up or down
BREATH_ROUNDS = 6  # of measuring, since what is soft counts as a rest
RIDE_GATE = -25.0  # LU re the whole: softer moments are rests, over which the ride holds


@dataclass(frozen=True, slots=True)
class Mastering:
    """What `master` did."""

    target_lufs: float
    loudness_lufs: float
    """Integrated loudness of the result (BS.1770-5)."""
    gain_db: float
    """Gain before the limiter."""
    ridden_db: float
    """Range of the level ride; 0 where there was none."""
    breathed_db: float
    """Range of the gain that makes the loudness breathe; 0 where it need not."""
    limited_db: float
    """Largest gain reduction by the limiter; 0 when it had nothing to do."""
    ceiling_dbtp: float
    true_peak_dbtp: float
    """True peak of the result."""
    dc_removed: float
    """Largest mean of a channel before, full scale 1."""
    fade_in_s: float
    fade_out_s: float
    seconds: float


def master(
    sound: Sound,
    *,
    target_lufs: float = -23.0,
    ceiling_dbtp: float = -1.0,
    fade_in_s: float = 0.02,
    fade_out_s: float = 3.0,
    end_s: float | None = None,
    dynamics: Curve | None = None,
    breath: Breath | None = None,
) -> tuple[Sound, Mastering]:
    """The mastered sound, `end_s` long (None: all of it), and the record of what was done.

    dynamics : loudness that is meant over time, in dB, no matter re what; None leaves it alone.
    breath : the swell that the loudness is to have; None makes none.
    """
    end_s = sound.seconds if end_s is None else end_s
    _check(sound, target_lufs, ceiling_dbtp, fade_in_s, fade_out_s, end_s)
    offset = float(np.abs(sound.samples.mean(axis=1)).max())
    samples = block_dc(sound.samples, sound.rate)[:, : round(end_s * sound.rate)]
    samples, ridden_db = (samples, 0.0) if dynamics is None else ride(samples, sound.rate, dynamics)
    samples, breathed_db = (
        (samples, 0.0) if breath is None else breathe(samples, sound.rate, breath)
    )
    samples = samples * fades(samples.shape[1], sound.rate, fade_in_s, fade_out_s)
    samples, gain_db, limited_db = _level(samples, sound.rate, target_lufs, ceiling_dbtp)
    mastered = replace(sound, samples=samples.astype(np.float32))
    record = Mastering(
        target_lufs=target_lufs,
        loudness_lufs=integrated_loudness(mastered.samples, sound.rate),
        gain_db=gain_db,
        ridden_db=ridden_db,
        breathed_db=breathed_db,
        limited_db=limited_db,
        ceiling_dbtp=ceiling_dbtp,
        true_peak_dbtp=true_peak(mastered.samples, sound.rate),
        dc_removed=offset,
        fade_in_s=fade_in_s,
        fade_out_s=fade_out_s,
        seconds=mastered.seconds,
    )
    return mastered, record


def _check(
    sound: Sound, target: float, ceiling: float, fade_in: float, fade_out: float, end: float
) -> None:
    if not -60.0 <= target <= -10.0:
        raise ValueError(f"target_lufs {target}; legal are -60 to -10 LUFS")
    if not -20.0 <= ceiling <= 0.0:
        raise ValueError(f"ceiling_dbtp {ceiling}; legal are -20 to 0 dBTP")
    if not 0.4 <= end <= sound.seconds + 0.5 / sound.rate:
        raise ValueError(f"end_s {end}; legal are .4 to the sound's {sound.seconds:.3f} s")
    if not (fade_in >= 0 and fade_out >= 0 and fade_in + fade_out <= end):
        raise ValueError(f"fades of {fade_in} and {fade_out} s; legal are 0 to {end} s in sum")


def block_dc(samples: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """First-order high-pass at 10 Hz, settled at the first sample: an offset leaves no thump."""
    sections = signal.butter(1, DC_CORNER, "highpass", fs=rate, output="sos")
    settled = signal.sosfilt_zi(sections)[:, None, :] * samples[:, :1].astype(np.float64)
    return signal.sosfilt(sections, samples.astype(np.float64), axis=1, zi=settled)[0]


def ride(
    samples: NDArray[np.float64], rate: int, dynamics: Curve
) -> tuple[NDArray[np.float64], float]:
    """The samples with the short-term loudness that `dynamics` mean; range of the gain (dB).

    Short sounds, of less than two windows of 3 s, are left alone.
    """
    if samples.shape[1] < 2 * SHORT_TERM_S * rate:
        return samples, 0.0
    weighted = k_weighted(samples, rate)
    heard = weighted.levels(STEP_S)
    audible = heard.values > weighted.integrated + RIDE_GATE
    if not audible.any():
        return samples, 0.0
    power = _smooth(np.where(audible, 10 ** (heard.values / 10), 0.0))
    share = _smooth(audible.astype(float))
    told = share > 0.05  # enough of what is within reach is audible
    level = 10 * np.log10(power[told] / share[told])
    missing = dynamics.at(heard.times[told]) - level
    gain = np.clip(missing - missing.mean(), -RIDE_DB, RIDE_DB)
    gain = _smooth(np.interp(heard.times, heard.times[told], gain))
    fader = 10 ** (np.interp(np.arange(samples.shape[1]) / rate, heard.times, gain) / 20)
    return samples * fader, float(np.ptp(gain))


def breathe(
    samples: NDArray[np.float64], rate: int, breath: Breath
) -> tuple[NDArray[np.float64], float]:
    """The samples with the swell in their momentary loudness; range of the gain (dB).

    What the music has of the swell by itself is measured, as the mean breath, and only what is
    missing is added: velocities that swell, or bars that beat against the breath, do not matter.
    """
    heard = k_weighted(samples[:, : round(breath.seconds * rate)], rate).levels(MOMENTARY_S)
    breaths = breath.count(heard.times)
    waves = harmonics(breaths)
    wanted, gain = breath.shape(breaths), np.zeros(2 * HARMONICS)
    for _ in range(BREATH_ROUNDS):
        level = signal.detrend(audible_level(heard.values + waves @ gain))
        gain += np.linalg.lstsq(waves, wanted - level, rcond=None)[0]
    seconds = np.arange(samples.shape[1]) / rate
    times = np.arange(0.0, seconds[-1] + STEP_S, STEP_S)
    curve = np.clip(harmonics(breath.count(times)) @ gain, -BREATH_DB, BREATH_DB)
    return samples * 10 ** (np.interp(seconds, times, curve) / 20), float(np.ptp(curve))


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over about 3 s around each moment, by a Hann window."""
    width = 2 * round(SHORT_TERM_S / STEP_S / 2) + 1
    hann = signal.get_window("hann", width, fftbins=False)
    return np.convolve(np.pad(values, width // 2, mode="edge"), hann / hann.sum(), mode="valid")


def fades(frames: int, rate: int, fade_in_s: float, fade_out_s: float) -> NDArray[np.float64]:
    """Gain over the frames: raised cosines at both ends, the very last frame silent."""
    gain = np.ones(frames)
    for seconds, side in ((fade_in_s, gain), (fade_out_s, gain[::-1])):
        count = round(seconds * rate)
        side[:count] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / max(count, 1))
    return gain


def _level(
    samples: NDArray[np.float64], rate: int, target: float, ceiling: float
) -> tuple[NDArray[np.float64], float, float]:
    """Samples at the target loudness under the ceiling, the gain and the largest reduction (dB)."""
    peak = float(np.abs(samples).max())
    loudness = integrated_loudness(samples / peak, rate) if peak > SILENT_PEAK else -np.inf
    if loudness == -np.inf:
        raise ValueError(f"the sound is silent: peak {peak:.1e}, legal are above {SILENT_PEAK:.0e}")
    gain_db = target - loudness - 20 * np.log10(peak)
    highest = true_peak(samples, rate)
    for _ in range(ROUNDS):
        louder = samples * 10 ** (gain_db / 20)
        fits = highest + gain_db <= ceiling
        levelled, reduction = (louder, 0.0) if fits else limit(louder, rate, ceiling)
        missing = target - integrated_loudness(levelled, rate)
        if abs(missing) <= LOUDNESS_TOLERANCE:
            break
        gain_db += missing
    return levelled, float(gain_db), reduction


def limit(
    samples: NDArray[np.float64], rate: int, ceiling_dbtp: float
) -> tuple[NDArray[np.float64], float]:
    """Look-ahead limiter, both channels alike; the limited samples and the largest reduction (dB).

    The gain is the least needed within 5 ms on either side, smoothed by a Hann window as long: it
    is down before the peak comes, and never above what the peak needs.
    """
    ceiling = 10 ** ((ceiling_dbtp - CEILING_MARGIN_DB) / 20)
    between = signal.resample_poly(samples, LIMITER_OVERSAMPLING, 1, axis=1)
    peaks = np.abs(between).max(axis=0).reshape(-1, LIMITER_OVERSAMPLING).max(axis=1)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, ceiling))
    width = 2 * round(LOOK_AHEAD_S * rate) + 1
    held = ndimage.minimum_filter1d(needed, width, mode="nearest")
    smooth = signal.get_window("hann", width, fftbins=False)
    padded = np.pad(held, width // 2, mode="edge")
    gain = np.minimum(1.0, signal.oaconvolve(padded, smooth / smooth.sum(), mode="valid"))
    limited = samples * gain
    excess_db = max(0.0, true_peak(limited, rate) - ceiling_dbtp)
    return limited * 10 ** (-excess_db / 20), float(excess_db - 20 * np.log10(gain.min()))
