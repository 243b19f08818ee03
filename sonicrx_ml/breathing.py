"""A loudness that breathes: how fast, how deep, and the tempo whose bars fit its breaths.

A breath begins at its trough, rises over the inhalation and falls over the exhalation, each a half
cosine. Breaths are counted from the start of the music: their number after some seconds is the
integral of the rate, so a rate that glides has no jumps. Resonance is about 6 breaths a minute;
loudness that moves at 75 % of the listener's own rate slowed breathing more than a fixed 6
(Leslie 2019). Whether a rising loudness goes with breathing in is a choice [E].

Units: breaths per minute, felt BPM, seconds, dB from trough to crest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonicrx_ml.curve import Curve, knots

Floats = NDArray[np.float64]

INHALE = 0.4  # share of a breath, where it is open: calm breathing out is the longer part [E]
DEPTH_DB = 5.0  # where it is open: clearly heard, and no startle at the fastest rate [E]
LEAST_BREATHS = 2.0  # that music must hold to have a rate
STEEPEST = 3.0  # dB in 400 ms: half of the startle limit, the other half is the notes' [E]
FARTHEST = 0.125  # of the asked tempo that it may move to fit: more is another tempo [E]


@dataclass(frozen=True, slots=True)
class Breath:
    """The swell that is asked of a piece."""

    rate: Curve
    """Breaths per minute over the fraction of the music."""
    seconds: float
    """Length of the music."""
    inhale: float = INHALE
    """Share of a breath in which the loudness rises."""
    depth_db: float = DEPTH_DB

    def __post_init__(self) -> None:
        if self.total < LEAST_BREATHS:
            raise ValueError(
                f"breaths_per_min holds {self.total:.2f} breaths in {self.seconds:g} s of music; "
                f"legal is at least {LEAST_BREATHS:g}: ask for a longer track or faster breathing"
            )
        if self.steepest > STEEPEST:
            legal = self.depth_db * STEEPEST / self.steepest
            raise ValueError(
                f"breath_depth_db {self.depth_db:g} at {self.fastest:g} breaths a minute swells by "
                f"{self.steepest:.1f} dB in 400 ms, which may startle; legal is a depth of up to "
                f"{np.floor(10 * legal) / 10:g} dB, slower breathing, or an inhale_share nearer .5"
            )

    @property
    def total(self) -> float:
        """Breaths in the music."""
        return float(self.count(self.seconds))

    @property
    def mean(self) -> float:
        """Mean rate, breaths per minute."""
        return float(self.rate.integral(1.0))

    @property
    def fastest(self) -> float:
        return max(level for _, level in self.rate.points)

    @property
    def steepest(self) -> float:
        """Largest rise or fall in 400 ms, dB."""
        seconds = 60.0 / self.fastest * min(self.inhale, 1.0 - self.inhale)
        return self.depth_db / 2.0 * np.pi / seconds * 0.4

    def count(self, seconds: ArrayLike) -> Floats:
        """Breaths since the start (any shape); none are drawn after the music."""
        fraction = np.clip(np.asarray(seconds, dtype=np.float64) / self.seconds, 0.0, 1.0)
        return self.rate.integral(fraction) * self.seconds / 60.0

    def level(self, seconds: ArrayLike) -> Floats:
        """The swell in dB, mean 0 over a breath."""
        return self.shape(self.count(seconds))

    def shape(self, breaths: ArrayLike) -> Floats:
        """The swell in dB at a number of breaths, whole numbers being troughs."""
        return self.depth_db * half_cosines(breaths, self.inhale)


def half_cosines(breaths: ArrayLike, inhale: float) -> Floats:
    """A breath from -.5 at whole numbers of breaths to .5 at the turn, which is at `inhale`."""
    phase = np.asarray(breaths, dtype=np.float64) % 1.0
    rising = phase < inhale
    turned = np.where(rising, phase / inhale, (1.0 - phase) / (1.0 - inhale))
    return -0.5 * np.cos(np.pi * turned)


def bars_per_breath(bpm: ArrayLike, rate: ArrayLike, beats_per_bar: int) -> Floats:
    """Bars that a breath takes: BPM = beats a bar · bars a breath · breaths a minute."""
    return np.asarray(bpm, dtype=np.float64) / (beats_per_bar * np.asarray(rate, dtype=np.float64))


def open_tempo(rate: Curve, beats_per_bar: int, usual: float, low: float, high: float) -> Curve:
    """The tempo of whole bars a breath that is nearest to the usual BPM, on average.

    A gliding rate takes the tempo with it; where no whole number of bars keeps it within `low` to
    `high` BPM, the usual tempo stays.
    """
    levels = np.array([level for _, level in rate.points])
    mean = float(rate.integral(1.0))
    bars = np.arange(1, 1 + max(1, int(high / (beats_per_bar * levels.min()))))
    tempi = beats_per_bar * bars[:, None] * levels
    fits = ((tempi >= low) & (tempi <= high)).all(axis=1)
    if not fits.any():
        return Curve.of(usual)
    off = np.abs(np.log(beats_per_bar * bars * mean / usual))
    best = int(bars[np.argmin(np.where(fits, off, np.inf))])
    return Curve(tuple((at, beats_per_bar * best * level) for at, level in rate.points))


def fitted(tempo: Curve, rate: Curve, beats_per_bar: int, low: float, high: float) -> Curve:
    """The tempo with each of its levels moved to whole bars a breath, where that is near.

    A level moves by at most an eighth, and stays within `low` to `high` BPM; what is farther off
    stays as it is asked.
    """
    fractions = knots(tempo, rate)
    asked, unit = tempo(fractions), beats_per_bar * rate(fractions)
    fewer = np.maximum(np.floor(asked / unit), 1.0) * unit
    moved = np.where(asked / fewer < (fewer + unit) / asked, fewer, fewer + unit)
    near = (np.abs(moved / asked - 1.0) <= FARTHEST) & (moved >= low) & (moved <= high)
    levels = np.where(near, moved, asked)
    return Curve(tuple(zip(fractions.tolist(), levels.tolist(), strict=True)))
