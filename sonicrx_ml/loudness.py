"""Loudness after ISO 532-1:2017 (Zwicker), stationary and over time; sharpness after DIN 45692.

Conventions
-----------
* `samples` and `rate` are as in `acoustics`: one (n,) or two (2, n) channels, full scale 1.0.
* Sone and acum mean nothing without a level: `full_scale_db_spl` is the level in dB SPL of a sine
  whose peak is full scale, in each channel; `acoustics.full_scale_level` finds it from the
  playback level.
* Free field. The standard knows one ear: two channels are judged each for itself, as through
  headphones; their loudness is the mean of both, their sharpness that of the mean loudness.
* Silence has 0 sone and 3 phon (the standard's floor). Below AUDIBLE sone, sharpness is 0.

Where this departs from the text of ISO 532-1: the filters, as `third_octaves` says; the nonlinear
decay takes SUBSTEPS steps in half a millisecond, not 24; the slopes, as `slopes` says.
`benchmarks/psychoacoustics.md` has what that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy import signal

from sonicrx_ml import third_octaves, zwicker
from sonicrx_ml.acoustics import Curve, Floats, Samples
from sonicrx_ml.slopes import BARK, sones, specific
from sonicrx_ml.third_octaves import RATE, TICK, WARM_UP, Single

FADE_S = 0.01

SUBSTEPS = 2  # of the nonlinear decay in a tick
BLOCK = 2_000  # ticks; 1 s is 13 times the longest decay
T_SHORT, T_LONG, T_VAR = 0.005, 0.015, 0.075  # s, nonlinear decay
ATTACK = ((0.47, 0.0035), (0.53, 0.07))  # share and time constant (s) of the temporal weighting

OUTPUT = 4  # ticks: results come every 2 ms
CHUNK = 1_024  # of these are solved at a time
AUDIBLE = 0.1  # sone
LIMIT_DB = 120.0  # the corrections at low frequencies end there
DIN_K = 0.11  # DIN 45692: .105 to .115, so that 1 kHz noise, a band wide, 60 dB, is 1 acum


@dataclass(frozen=True, slots=True, eq=False)
class Stationary:
    """Loudness in sone and phon and sharpness in acum of a sound taken as unchanging."""

    sone: float
    phon: float
    acum: float
    specific: Floats
    """Specific loudness (240,) in sone/Bark at BARK, the mean over channels."""


@dataclass(frozen=True, slots=True, eq=False)
class Varying:
    """Loudness in sone and sharpness in acum every 2 ms, and figures for the whole."""

    sone: Curve
    acum: Curve

    def exceeded(self, percent: float) -> float:
        """Loudness in sone exceeded in `percent` of the time: N5 is `exceeded(5)`."""
        return float(np.percentile(self.sone.values, 100 - percent))

    @property
    def mean(self) -> float:
        """Mean loudness in sone."""
        return float(self.sone.values.mean())

    @property
    def phon(self) -> float:
        """Loudness level of N5, by which the standard names a sound that changes."""
        return float(phon(self.exceeded(5)))

    @property
    def sharpness(self) -> float:
        """Mean sharpness in acum of what is louder than AUDIBLE; 0 if nothing is."""
        audible = self.sone.values >= AUDIBLE
        return float(self.acum.values[audible].mean()) if audible.any() else 0.0


def phon(sone: ArrayLike) -> Floats:
    """Loudness level in phon; 3 at least (ISO 532-1)."""
    loud = np.asarray(sone, dtype=np.float64)
    soft = 40.0 * (np.minimum(loud, 1.0) + 0.0005) ** 0.35
    return np.where(loud >= 1, 40.0 + 10.0 * np.log2(np.maximum(loud, 1.0)), np.maximum(soft, 3.0))


def stationary(samples: Samples, rate: int, *, full_scale_db_spl: float) -> Stationary:
    """Loudness of the sound's mean spectrum (ISO 532-1, method for stationary sounds).

    Both ends are faded over FADE_S, or the cut would be heard. Raises `ValueError` for a shape,
    rate, length or sample that is not legal, and for a third octave above 120 dB SPL.
    """
    rows = third_octaves.pressures(samples, rate, full_scale_db_spl)
    count = rows.shape[1]
    window = signal.windows.tukey(count, min(1.0, 2 * FADE_S * RATE / count)).astype(np.float32)
    power = np.zeros((len(zwicker.FILTERS), len(rows)))
    for spectrum in third_octaves.spectra(rows * window):
        for band in range(len(power)):
            kept = third_octaves.band_pass(spectrum, band)[:, WARM_UP // third_octaves.step(band) :]
            power[band] += np.einsum("cn,cn->c", kept, kept) * third_octaves.step(band)
    core = _core((power / (window @ window)).astype(np.float32))
    pattern = specific(core).mean(axis=1, dtype=np.float64)
    sone = float(sones(core).mean())
    acum = float(_din_weights() @ pattern / sone) if sone >= AUDIBLE else 0.0
    return Stationary(sone, float(phon(sone)), acum, pattern)


def over_time(samples: Samples, rate: int, *, full_scale_db_spl: float) -> Varying:
    """Loudness and sharpness over time (ISO 532-1, method for time-varying sounds).

    DIN 45692 defines unchanging sound only; here sharpness is that of the specific loudness of the
    instant, its moment and its sum both under the temporal weighting of the loudness. Raises
    `ValueError` as `stationary` does.
    """
    rows = third_octaves.pressures(samples, rate, full_scale_db_spl)
    core = _decay(_core_loudness(rows))
    sone = np.empty(core.shape[1:])
    moment = np.empty((core.shape[1], -(-core.shape[2] // OUTPUT)))
    for start in range(0, core.shape[2], OUTPUT * CHUNK):
        part = core[:, :, start : start + OUTPUT * CHUNK]
        first = start // OUTPUT
        sone[:, start : start + OUTPUT * CHUNK] = sones(part)
        moment[:, first : first + CHUNK] = np.tensordot(
            _din_weights(), specific(part[:, :, ::OUTPUT]), 1
        )
    tick = TICK / RATE
    loudness = _weighted(sone.mean(axis=0), tick)[::OUTPUT]
    weight = _weighted(sone.mean(axis=0)[::OUTPUT], OUTPUT * tick)
    acum = np.divide(
        _weighted(moment.mean(axis=0), OUTPUT * tick),
        weight,
        out=np.zeros_like(weight),
        where=loudness >= AUDIBLE,
    )
    times = np.arange(len(loudness), dtype=np.float64) * OUTPUT * tick
    return Varying(Curve(times, loudness, "sone"), Curve(times, acum, "acum"))


@cache
def _din_weights() -> Floats:
    """Weights (240,): of a specific loudness, `weights @ specific / sone` is acum (DIN 45692)."""
    steep = 0.15 * np.exp(0.42 * (BARK - 15.8)) + 0.85
    return DIN_K * 0.1 * BARK * np.where(BARK > 15.8, steep, 1.0)


# ---------------------------------------------------------------- core loudness


def _core_loudness(rows: Single) -> Single:
    """Core loudness (20, c, ticks) in sone/Bark of channels (c, n)."""
    frames = []
    for spectrum in third_octaves.spectra(rows):
        levels = [third_octaves.level(spectrum, band) for band in range(len(zwicker.FILTERS))]
        frames.append(_core(np.array(levels, dtype=np.float32)[:, :, WARM_UP // TICK :]))
    return np.concatenate(frames, axis=2)[:, :, : -(-rows.shape[1] // TICK)]


def _core(power: Single) -> Single:
    """Core loudness (20, ...) in sone/Bark of the powers (28, ...) of the third octaves."""
    if not power.max() <= 10 ** (LIMIT_DB / 10):
        raise ValueError(
            f"a third octave at {10 * np.log10(power.max()):.1f} dB SPL; "
            f"legal is up to {LIMIT_DB:.0f} (ISO 532-1)"
        )
    low = power[: zwicker.LOW_REDUCTION.shape[1]]
    critical = np.concatenate([_low_bands(low), power[len(low) :]])
    core = np.zeros_like(critical)
    for band, (quiet, ear, width) in enumerate(
        zip(zwicker.THRESHOLD, zwicker.EAR, zwicker.WIDTH, strict=True)
    ):
        ratio = critical[band] * float(10 ** (-(quiet + ear) / 10))
        grown = np.sqrt(np.sqrt(0.75 + float(0.25 * 10 ** (-width / 10)) * ratio)) - 1
        loud = (ratio > 1) & (grown > 0)
        core[band, loud] = float(0.0635 * 10 ** (0.025 * quiet)) * grown[loud]
    core[0] *= np.minimum(1, 0.4 + 0.32 * core[0] ** 0.2)
    return core


def _low_bands(power: Single) -> Single:
    """Powers (3, ...) of the lowest critical bands, of the third octaves (11, ...) to 250 Hz."""
    reduced = np.empty_like(power)
    for band, steps in enumerate(zwicker.LOW_REDUCTION.T):
        limits = (10 ** ((zwicker.LOW_LEVEL - steps)[:-1] / 10)).astype(power.dtype)
        gains = (10 ** (steps / 10)).astype(power.dtype)
        reduced[band] = power[band] * gains[np.searchsorted(limits, power[band])]
    return np.add.reduceat(reduced, zwicker.LOW_BANDS)


# ---------------------------------------------------------------- nonlinear decay


def _decay(core: Single) -> Single:
    """Core loudness (20, c, ticks) after its nonlinear decay.

    Blocks of time run side by side. A first pass gives the state in which the next block begins;
    nothing is left of a state one block later, so that the second pass is the answer.
    """
    bands, channels, ticks = core.shape
    block = min(BLOCK, ticks)
    blocks = -(-ticks // block)
    padded = np.pad(core, ((0, 0), (0, 0), (0, blocks * block - ticks + 1)))
    beside = sliding_window_view(padded, block + 1, axis=2)[:, :, ::block]
    drive = np.ascontiguousarray(beside.transpose(3, 0, 1, 2))
    state = np.zeros((2, *drive.shape[1:]), dtype=np.float32)
    _run_decay(drive, state)
    state = np.pad(state[..., :-1], ((0, 0), (0, 0), (0, 0), (1, 0)))
    decayed = _run_decay(drive, state)
    return decayed.transpose(1, 2, 3, 0).reshape(bands, channels, -1)[:, :, :ticks]


def _run_decay(drive: Single, state: Single) -> Single:
    """Decay (ticks, ...) of `drive` (ticks + 1, ...), from a state to that which is left in it.

    ISO 532-1, 6.4: a capacitor charged at once and discharged over a second one, which charges it
    in turn. `fast` is the first one's voltage, `slow` the second's; slow <= fast always.
    """
    fast, slow = state
    out = np.empty_like(drive[:-1])
    drain, fill, keep, feed, alone, charge = _decay_factors(TICK / RATE / SUBSTEPS)
    for tick in range(len(out)):
        slope = (drive[tick + 1] - drive[tick]) * np.float32(1 / SUBSTEPS)
        target = drive[tick]
        for substep in range(SUBSTEPS):
            rising = target >= fast
            together = fast > slow
            fallen = np.maximum(np.where(together, keep * fast - feed * slow, alone * fast), target)
            drained = np.where(together, np.minimum(drain * fast - fill * slow, fallen), fallen)
            slow[...] = np.where(rising, target + charge * (slow - target), drained)
            fast[...] = fallen
            if substep == 0:
                out[tick] = fast
            target = target + slope
    return out


def _decay_factors(seconds: float) -> tuple[float, ...]:
    """What is left of two coupled capacitors' voltages after a time (ISO 532-1, 6.4)."""
    half = (T_VAR + T_LONG) / (2 * T_VAR * T_SHORT)
    root = float(np.sqrt(half**2 - 1 / (T_SHORT * T_VAR)))
    one, two = -half + root, -half - root
    a, b, over = T_VAR * one + 1, T_VAR * two + 1, 2 * T_VAR * root
    x, y = float(np.exp(one * seconds)), float(np.exp(two * seconds))
    return (
        (x - y) / over,
        (b * x - a * y) / over,
        (a * x - b * y) / over,
        a * b * (x - y) / over,
        float(np.exp(-seconds / T_LONG)),
        float(np.exp(-seconds / T_VAR)),
    )


def _weighted(values: Floats, seconds: float) -> Floats:
    """Temporal weighting of values every `seconds`, linear in between: two low-passes."""
    out = np.zeros_like(values)
    for share, tau in ATTACK:
        keep = np.exp(-seconds / tau)
        late = tau / seconds * (1 - keep) - keep  # what the value one step ago still gives
        now = 1 - keep - late
        out += share * signal.lfilter([now, late], [1.0, -keep], values)
    return out
