"""Tempo of a sound: what begins when, and how fast it repeats near an expected tempo.

Conventions are those of `acoustics`. There is no standard; the search is our own (`tempo_of` says
how it works) and is narrow, since beat trackers double slow tempi.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

from sonicrx_ml.acoustics import FRAMES_AT_ONCE, Curve, Floats, Samples, magnitudes, mono_of

ONSET_RATE = 100  # Hz, onset strength
ONSET_LEAST_S = 0.5  # of sound: less holds no curve
ONSET_BAND = 6_000.0  # Hz: what starts a note is below
HALVES = (1, 2, 4, 6, 8)  # events per half note that a tempo may show itself by


def onset_strength(samples: Samples, rate: int) -> Curve:
    """How much begins at each instant, 100 times a second, mean 0 and variance about 1.

    Rise of the log magnitude below 6 kHz over 50 ms, against the largest of three neighbouring
    bins, so that vibrato is no onset (Böck & Widmer 2013, "Maximum filter vibrato suppression").
    """
    mono = mono_of(samples, rate, ONSET_LEAST_S)
    frame, hop, lag = round(0.08 * rate), round(rate / ONSET_RATE), 5
    bins = min(int(ONSET_BAND * frame / rate), frame // 2 + 1)
    level = np.empty(((len(mono) - frame) // hop + 1, bins), np.float32)
    for first, magnitude in enumerate(magnitudes(mono, frame, hop, bins)):
        level[first * FRAMES_AT_ONCE :][: len(magnitude)] = magnitude
    level *= 1000.0 / max(float(level.max()), 1e-9)
    np.log1p(level, out=level)
    rise = np.empty(len(level) - lag)
    for first in range(0, len(rise), FRAMES_AT_ONCE):
        part = level[first : first + FRAMES_AT_ONCE + lag]
        fall = ndimage.maximum_filter1d(part[:-lag], 3, axis=1) - part[lag:]
        rise[first : first + FRAMES_AT_ONCE] = -np.minimum(fall, 0.0, out=fall).mean(axis=1)
    rise -= ndimage.uniform_filter1d(rise, 2 * ONSET_RATE)
    variance = ndimage.uniform_filter1d(rise**2, 8 * ONSET_RATE)
    rise /= np.sqrt(variance.clip(0.0)) + 1e-6  # a running sum may end a hair below 0
    times = ((np.arange(len(rise)) + lag / 2) * hop + frame / 2) / rate
    return Curve(times, rise, "")


def tempo_near(
    samples: Samples,
    rate: int,
    expected_bpm: float | Curve,
    *,
    search: float = 0.08,
    window_s: float = 16.0,
    step_s: float = 4.0,
) -> Curve:
    """Tempo of a sound near an expected one, see `tempo_of`."""
    onsets = onset_strength(samples, rate)
    return tempo_of(onsets, expected_bpm, search=search, window_s=window_s, step_s=step_s)


def tempo_of(
    onsets: Curve,
    expected_bpm: float | Curve,
    *,
    search: float = 0.08,
    window_s: float = 16.0,
    step_s: float = 4.0,
) -> Curve:
    """Tempo in BPM (quarters per minute) near an expected one, per Hann window of `window_s`.

    onsets : as `onset_strength` gives them.
    Time is bent by the expected tempo, so that a glide as expected is a steady beat; then the ratio
    within 1 ± `search` is found at which the onsets repeat most strongly, summed over the half note
    and its HALVES. The search is narrow: a drift is found, quite another tempo is not, and may be
    taken for the expected one. NaN where the strongest ratio is at the edge of the search. Sound
    without any beat gives values that scatter over the search, about the expected one. On 14 scores
    (48-90 BPM; piano, guitar, organ, voices; 178 windows; asked 3 % too fast) the median error was
    .02 %, and 96 % of the windows were within 1 %.
    """
    width, step = round(window_s * ONSET_RATE), round(step_s * ONSET_RATE)
    if len(onsets.times) < width:
        seconds = len(onsets.times) / ONSET_RATE
        raise ValueError(f"{seconds:.2f} s of onsets; legal is {window_s} s up")
    expected = expected_bpm.at(onsets.times) if isinstance(expected_bpm, Curve) else expected_bpm
    tempo = np.broadcast_to(np.asarray(expected, dtype=np.float64), onsets.times.shape)
    if not (tempo > 0).all():
        raise ValueError(f"expected tempo {tempo.min()} BPM; legal are positive ones")
    beats = np.cumsum(tempo / 60.0 * np.gradient(onsets.times))
    ratios = 1.0 + np.linspace(-search, search, 2 * round(search * 1000) + 1)
    hann = signal.get_window("hann", width)
    starts = np.arange(0, len(beats) - width + 1, step)
    found = [
        _best_ratio(onsets.values[s : s + width] * hann, beats[s : s + width], ratios)
        for s in starts
    ]
    middle = starts + width // 2
    return Curve(onsets.times[middle], np.array(found) * tempo[middle], "BPM")


def _best_ratio(strength: Floats, beats: Floats, ratios: Floats) -> float:
    """Ratio whose beat, halved and divided, the onsets follow best; NaN at the edge of `ratios`."""
    turn = -1j * np.pi * (beats - beats[len(beats) // 2])
    step, some = ratios[1] - ratios[0], int(np.ceil(np.sqrt(len(ratios))))
    # An evenly spaced ratio is a coarse one plus a fine one, so a table of them is one product.
    fine = step * np.arange(some)
    coarse = ratios[0] + some * fine
    grid = sum(
        np.abs((strength * np.exp(n * np.outer(coarse, turn))) @ np.exp(n * np.outer(turn, fine)))
        ** 2
        for n in HALVES
    )
    power = np.ravel(grid)[: len(ratios)]
    best = int(np.argmax(power))
    if best in (0, len(ratios) - 1):
        return float("nan")
    left, top, right = power[best - 1 : best + 2]
    return float(
        ratios[best] + (ratios[1] - ratios[0]) * 0.5 * (left - right) / (left - 2 * top + right)
    )
