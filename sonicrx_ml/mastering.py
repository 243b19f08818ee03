"""A rendered sound made ready to hear: no DC, the asked loudness, peaks under a ceiling, soft ends.

The order is DC block, cut, level ride, breathing, fades, softening, gain, limiter; loudness is
measured last, on what will be heard. The ride is a slow hand on the fader: where more instruments
join, or notes thicken, music grows louder than its dynamics ask, and is turned down to them.
Breathing adds to the loudness what it lacks of the swell that is asked for. Softening turns down,
for under a second, what would rise so suddenly that it may startle (`hearing.startle`).
The limiter looks ahead and only turns down around peaks over the ceiling; calm music at -23 LUFS
does not reach it. `Mastering` says what was done, `limited_db` 0 meaning a plain gain.

An hour of sound is 1.4 GB. So the sound is copied once, kept in its own precision and worked on in
place, a few seconds at a time, and peaks are looked for only where they can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from sonicrx_ml.acoustics import (
    FINE_STEP_S,
    MOMENTARY_S,
    PART_S,
    SHORT_TERM_S,
    STEP_S,
    Curve,
    Samples,
    integrated_loudness,
    k_weighted,
)
from sonicrx_ml.audio import Sound
from sonicrx_ml.breathing import Breath
from sonicrx_ml.hearing import RISE_LIMIT, rises
from sonicrx_ml.peaks import PEAK_BLOCK, peak_bounds, peaks_between, true_peak
from sonicrx_ml.pulse import HARMONICS, about_as_fast, audible_level, harmonics

Floats = NDArray[np.float64]

DC_CORNER = 10.0  # Hz
LOOK_AHEAD_S = 0.005
LIMITER_OVERSAMPLING = 4
LOUDNESS_TOLERANCE = 0.05  # LU
CEILING_MARGIN_DB = 0.05  # the limiter aims lower, since turning down moves the peaks a little
ROUNDS = 8  # of gain against limiter and gates
SILENT_PEAK = 1e-5  # -100 dBFS
RIDE_DB = 10.0  # the most that the ride turns up or down
BREATH_DB = 12.0  # the most that breathing turns up or down
SUDDEN = RISE_LIMIT - 0.3  # LU: a little under the limit, which later steps may come back to
SOFTEN_ROUNDS = 12
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
    softened_db: float
    """The most that a sudden rise was turned down; 0 where none was."""
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
    rate, offset = sound.rate, float(np.abs(sound.samples.mean(axis=1)).max())
    # Bound anew to its own name, so that a render that nobody else holds is freed here.
    sound = replace(sound, samples=block_dc(sound.samples[:, : round(end_s * rate)], rate))
    ridden_db = 0.0 if dynamics is None else ride(sound.samples, rate, dynamics)[1]
    breathed_db = 0.0 if breath is None else breathe(sound.samples, rate, breath)[1]
    _fade(sound.samples, rate, fade_in_s, fade_out_s)
    softened_db = soften(sound.samples, rate)[1]
    samples, gain_db, limited_db = _level(sound.samples, rate, target_lufs, ceiling_dbtp)
    mastered = replace(sound, samples=samples)
    record = Mastering(
        target_lufs=target_lufs,
        loudness_lufs=integrated_loudness(samples, rate),
        gain_db=gain_db,
        ridden_db=ridden_db,
        breathed_db=breathed_db,
        softened_db=softened_db,
        limited_db=limited_db,
        ceiling_dbtp=ceiling_dbtp,
        true_peak_dbtp=true_peak(samples, rate),
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


def _parts(frames: int, rate: int) -> Iterator[slice]:
    """The frames, a few seconds at a time."""
    step = round(PART_S * rate)
    return (slice(first, min(first + step, frames)) for first in range(0, frames, step))


def block_dc(samples: Samples, rate: int) -> Samples:
    """First-order high-pass at 10 Hz, settled at the first sample: an offset leaves no thump."""
    sections = signal.butter(1, DC_CORNER, "highpass", fs=rate, output="sos")
    state = signal.sosfilt_zi(sections)[:, None, :] * samples[:, :1].astype(np.float64)
    blocked = np.empty_like(samples)
    for part in _parts(samples.shape[1], rate):
        exact = samples[:, part].astype(np.float64)
        blocked[:, part], state = signal.sosfilt(sections, exact, axis=1, zi=state)
    return blocked


def ride(samples: Samples, rate: int, dynamics: Curve) -> tuple[Samples, float]:
    """The samples, in place, with the short-term loudness that `dynamics` mean; gain's range (dB).

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
    _fade_to(samples, rate, heard.times, gain)
    return samples, float(np.ptp(gain))


def breathe(samples: Samples, rate: int, breath: Breath) -> tuple[Samples, float]:
    """Put the swell into the samples' momentary loudness, in place; range of the gain (dB).

    What the music has of the swell by itself is measured, as the mean breath, and only what is
    missing is added: velocities that swell, or bars that beat against the breath, do not matter.
    What else moves about as fast, a loud phrase after a soft one, is turned against: a few breaths
    would be heard as faster or slower for it.
    """
    heard = k_weighted(samples[:, : round(breath.seconds * rate)], rate).levels(MOMENTARY_S)
    breaths = breath.count(heard.times)
    waves = harmonics(breaths)
    wanted, mean = breath.shape(breaths), np.zeros(2 * HARMONICS)
    other = np.zeros(len(breaths))
    for _ in range(BREATH_ROUNDS):
        missing = wanted - signal.detrend(audible_level(heard.values + other + waves @ mean))
        added = np.linalg.lstsq(waves, missing, rcond=None)[0]
        mean += added
        other += about_as_fast(missing - waves @ added, breaths)
    times = np.arange(0.0, samples.shape[1] / rate + STEP_S, STEP_S)
    gain = harmonics(breath.count(times)) @ mean + np.interp(times, heard.times, other)
    curve = np.clip(gain, -BREATH_DB, BREATH_DB)
    _fade_to(samples, rate, times, curve)
    return samples, float(np.ptp(curve))


def soften(samples: Samples, rate: int) -> tuple[Samples, float]:
    """Turn down what rises by more than `SUDDEN` LU in 400 ms, in place; the most it was (dB).

    Windows that rise too much are turned down by what is too much, which is smoothed so that nobody
    hears a step, and measured again, since windows overlap.
    """
    weighted = k_weighted(samples, rate)
    width = round(MOMENTARY_S / FINE_STEP_S)
    hann = signal.get_window("hann", width + 1, fftbins=False)
    gain = np.zeros(len(weighted.energy))
    for _ in range(SOFTEN_ROUNDS):
        turned = replace(weighted, energy=weighted.energy * 10 ** (gain / 10))
        excess = np.maximum(rises(turned) - SUDDEN, 0.0)
        if not excess.any():
            break
        over = np.zeros(len(gain))  # of each bin, the most that a window it is in has too much
        over[: len(excess)] = excess
        over = ndimage.maximum_filter1d(over, 2 * width, origin=width - 1)
        gain -= np.convolve(over, hann / hann.sum(), mode="same")
    if gain.any():
        times = (weighted.edges[:-1] + weighted.edges[1:]) / 2 / rate
        _fade_to(samples, rate, times, gain)
    return samples, float(abs(gain.min(initial=0.0)))


def _fade_to(samples: Samples, rate: int, times: Floats, gain_db: Floats) -> None:
    """Turn the samples by a gain that is a curve over seconds, in place."""
    for part in _parts(samples.shape[1], rate):
        seconds = np.arange(part.start, part.stop) / rate
        samples[:, part] *= 10 ** (np.interp(seconds, times, gain_db) / 20)


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


def _fade(samples: Samples, rate: int, fade_in_s: float, fade_out_s: float) -> None:
    """Both ends faded, in place."""
    first, last = round(fade_in_s * rate), round(fade_out_s * rate)
    gain = fades(first + last, rate, fade_in_s, fade_out_s)
    samples[:, :first] *= gain[:first]
    samples[:, samples.shape[1] - last :] *= gain[first:]


def _level(
    samples: Samples, rate: int, target: float, ceiling: float
) -> tuple[Samples, float, float]:
    """Samples at the target loudness under the ceiling, the gain and the largest reduction (dB)."""
    weighted = k_weighted(samples, rate)
    highest = true_peak(samples, rate)
    peak = max(float(samples.max()), -float(samples.min()))
    loudness = weighted.louder(-highest).integrated if peak > SILENT_PEAK else -np.inf
    if loudness == -np.inf:
        raise ValueError(f"the sound is silent: peak {peak:.1e}, legal are above {SILENT_PEAK:.0e}")
    gain_db = target - loudness - highest
    for _ in range(ROUNDS):
        levelled, reduction = samples * 10 ** (gain_db / 20), 0.0
        if highest + gain_db > ceiling:
            levelled, reduction = limit(levelled, rate, ceiling)
        missing = target - integrated_loudness(levelled, rate)
        if abs(missing) <= LOUDNESS_TOLERANCE:
            break
        gain_db += missing
    return levelled, float(gain_db), reduction


def limit(samples: Samples, rate: int, ceiling_dbtp: float) -> tuple[Samples, float]:
    """Look-ahead limiter, both channels alike; the samples, limited in place, and the largest
    reduction (dB).

    The gain is the least needed within 5 ms on either side, smoothed by a Hann window as long: it
    is down before the peak comes, and never above what the peak needs. Only blocks that may hold a
    peak, and those within that reach of one, are looked at.
    """
    ceiling = 10 ** ((ceiling_dbtp - CEILING_MARGIN_DB) / 20)
    width = 2 * round(LOOK_AHEAD_S * rate) + 1
    high = peak_bounds(samples, LIMITER_OVERSAMPLING) > ceiling
    near = ndimage.maximum_filter1d(high, 2 * -(-width // PEAK_BLOCK) + 1)
    needed = np.ones((near.sum(), PEAK_BLOCK))
    peaks = peaks_between(samples, np.flatnonzero(high), LIMITER_OVERSAMPLING)
    needed[high[near]] = np.minimum(1.0, ceiling / np.maximum(peaks, ceiling))
    gain = _eased(needed.ravel(), width)
    at = (np.flatnonzero(near)[:, None] * PEAK_BLOCK + np.arange(PEAK_BLOCK)).ravel()
    at = at[at < samples.shape[1]]
    samples[:, at] *= gain[: len(at)]
    excess_db = max(0.0, true_peak(samples, rate) - ceiling_dbtp)
    samples *= 10 ** (-excess_db / 20)
    return samples, float(excess_db - 20 * np.log10(gain.min(initial=1.0)))


def _eased(needed: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The least gain within `width`, smoothed by a Hann window as wide."""
    held = ndimage.minimum_filter1d(needed, width, mode="nearest")
    hann = signal.get_window("hann", width, fftbins=False)
    padded = np.pad(held, width // 2, mode="edge")
    return np.minimum(1.0, signal.oaconvolve(padded, hann / hann.sum(), mode="valid"))
