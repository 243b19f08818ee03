"""A sound and its measurements, each made once, on demand.

Level, peak and silence are those of the whole file. What the music sounds like is measured on the
music, without the final silence that was asked for: on all of it, or where that would take long on
evenly spread excerpts, as `loudness_extent` and `sensation_extent` say. Sone, acum, asper, vacil
and dBA hang on the playback level.

A measurement that cannot be made (no note attacks, too short to breathe) raises `ValueError`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import acoustics, hearing, loudness, peaks, pulse, roughness, tempo, tonality
from sonicrx_ml.acoustics import Curve, Floats, Weighted
from sonicrx_ml.keys import Key

LONGEST_S = 300.0  # of music whose loudness over time is measured throughout
PART_S, PARTS = 20.0, 12  # of longer music: 240 s in all


@dataclass(frozen=True)
class Heard:
    """Samples (n,) or (2, n), full scale 1.0, at `rate` Hz, and what is heard in them."""

    samples: NDArray[np.floating]
    rate: int
    music_s: float
    """Seconds from the start that hold the music."""
    playback_db_spl: float
    """Level at which a track of -23 LUFS is played."""

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / self.rate

    @property
    def music(self) -> NDArray[np.floating]:
        return self.samples[..., : round(self.music_s * self.rate)]

    @functools.cached_property
    def full_scale_db_spl(self) -> float:
        """Level in dB SPL, in each channel, of a sine that is full scale."""
        channels = len(np.atleast_2d(self.samples))
        return acoustics.full_scale_level(self.playback_db_spl, channels)

    @functools.cached_property
    def weighted(self) -> Weighted:
        """K-weighted energy of the whole, of which every loudness in LUFS is made."""
        return acoustics.k_weighted(self.samples, self.rate)

    @functools.cached_property
    def integrated(self) -> float:
        return self.weighted.integrated

    @functools.cached_property
    def true_peak(self) -> float:
        return peaks.true_peak(self.samples, self.rate)

    @functools.cached_property
    def power(self) -> Floats:
        """K-weighted power of every 100 ms (BS.1770-5)."""
        return self.weighted.power(acoustics.STEP_S)

    # ------------------------------------------------------------ beat, timbre, pitch

    @functools.cached_property
    def onsets(self) -> Curve:
        return tempo.onset_strength(self.music, self.rate)

    @property
    def pulse_clarity(self) -> float:
        return pulse.clarity_of(self.onsets)

    @functools.cached_property
    def centroid(self) -> float:
        """Mean spectral centroid in Hz of what is audible."""
        values = acoustics.spectral_centroid(self.music, self.rate).values
        return _told("no audible frame", values).mean().item()

    @functools.cached_property
    def attacks(self) -> Floats:
        """Milliseconds of each attack."""
        return _told("no attack", pulse.attack_times(self.music, self.rate).values)

    @functools.cached_property
    def breathing(self) -> pulse.Breathing:
        count = round(self.music_s / acoustics.STEP_S)
        level = self.weighted.levels(acoustics.MOMENTARY_S).values
        return pulse.breathing_of(level[:count])

    @functools.cached_property
    def peaks(self) -> tonality.Partials:
        return tonality.spectral_peaks(self.music, self.rate)

    @functools.cached_property
    def key(self) -> Key:
        return tonality.key_of(self.peaks)

    @property
    def spectral_roughness(self) -> float:
        """Mean Hutchinson-Knopoff roughness of the frames."""
        return float(tonality.spectral_roughness(self.peaks).values.mean())

    @property
    def spectral_dissonance(self) -> float:
        """Mean Sethares dissonance of the frames."""
        return float(tonality.spectral_dissonance(self.peaks).values.mean())

    # ------------------------------------------------------------ safety

    @functools.cached_property
    def startle(self) -> float:
        return hearing.startle(self.weighted)

    @functools.cached_property
    def level_dba(self) -> float:
        """Equivalent level of the music in dBA at the louder ear."""
        return hearing.a_weighted_level(
            self.music, self.rate, full_scale_db_spl=self.full_scale_db_spl
        )

    # ------------------------------------------------------------ sensations

    @functools.cached_property
    def loudness(self) -> loudness.Varying:
        """ISO 532-1 over time, with the sharpness; of long music PARTS excerpts."""
        total, part = self.music.shape[-1], round(PART_S * self.rate)
        starts = np.linspace(0, total - part, PARTS).astype(int)
        if self.music_is_short:
            starts, part = np.zeros(1, dtype=int), total
        found = [
            loudness.over_time(
                self.samples[..., start : start + part],
                self.rate,
                full_scale_db_spl=self.full_scale_db_spl,
            )
            for start in starts
        ]
        seconds = starts / self.rate
        return loudness.Varying(
            _joined([part.sone for part in found], seconds),
            _joined([part.acum for part in found], seconds),
        )

    @property
    def music_is_short(self) -> bool:
        return self.music.shape[-1] <= LONGEST_S * self.rate

    @property
    def loudness_extent(self) -> str:
        return "whole" if self.music_is_short else f"{PARTS} x {PART_S:g} s"

    @property
    def sensation_extent(self) -> str:
        """How much of the music roughness and fluctuation strength are measured on."""
        count, part = roughness.EXCERPTS, roughness.EXCERPT_S
        short = self.music.shape[-1] <= count * round(part * self.rate)
        return "whole" if short else f"{count} x {part:g} s"

    @functools.cached_property
    def roughness(self) -> Curve:
        return roughness.roughness(self.music, self.rate, full_scale_db_spl=self.full_scale_db_spl)

    @functools.cached_property
    def fluctuation(self) -> Curve:
        return roughness.fluctuation_strength(
            self.music, self.rate, full_scale_db_spl=self.full_scale_db_spl
        )


def _joined(parts: Sequence[Curve], starts: Floats) -> Curve:
    """Curves that begin at `starts` seconds, one after the other."""
    times = [part.times + start for part, start in zip(parts, starts, strict=True)]
    values = [part.values for part in parts]
    return Curve(np.concatenate(times), np.concatenate(values), parts[0].unit)


def _told(why: str, values: Floats) -> Floats:
    """The values, or `ValueError` where there are none."""
    if len(values) == 0:
        raise ValueError(f"{why} in the sound; legal is one or more")
    return values
