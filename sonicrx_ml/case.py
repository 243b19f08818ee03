"""A prescription and the track to hold against it: everything that the judge measures.

The asked bars are laid over the realised piece as spans of seconds: music with another tempo or
meter is compared with what was asked at the same moment. Notes that begin after the asked end count
for the duration only. A bar that cannot tell (a rest has no register) is NaN. Units are those of
`prescription.CONTROLS`: density in onsets per second, register as it sounds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import acoustics, anchor, appoggiatura, attributes, emotion, keys, pulse, temperley
from sonicrx_ml.consonance import Consonance, consonance
from sonicrx_ml.entrainment import TempoChange, tempo_change
from sonicrx_ml.heard import Heard
from sonicrx_ml.notes import DRUMS, Bars, Floats, Notes, TempoMap
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.tempo import SEARCH, beat_ratio, tempo_of
from sonicrx_ml.verdicts import phrase_means

Sound: TypeAlias = tuple[NDArray[np.floating], int]
"""Samples (n,) or (2, n), full scale 1.0, and their rate in Hz."""

SILENT_BELOW = -40.0  # LU re the target loudness; what is softer counts as silence [E]
TEMPO_WINDOW_S = 16.0
PHRASE = 4  # bars over which a listener hears density, register and the like [E]


@dataclass(frozen=True)
class Case:
    """A prescription and the track to hold against it; each measurement is made once, on demand."""

    prescription: Prescription
    plan: BarPlan
    notes: Notes
    sound: Sound | None = None

    def target(self, name: str) -> Floats:
        """Asked value of each bar in the prescription's units; NaN where open."""
        if name == "density":
            return self.plan.targets[name] * self.plan.bpm / 60.0
        if name == "register":
            return self.plan.targets[name] + self.plan.transposition
        if name == "energy" and self.laid.energy is not None:
            edges = (self.plan.before_s + self.plan.seconds) / self.prescription.music_s
            return self.laid.energy.means(edges)
        return self.plan.targets[name]

    @functools.cached_property
    def laid(self) -> Prescription:
        """The prescription with strategy, breathing and arc worked into its curves."""
        return self.prescription.laid()

    def asks(self, control: str | None) -> bool:
        """Whether a control is asked for: open ones are None; a final silence of 0 s is none."""
        return control is None or bool(
            getattr(self.prescription, control) or getattr(self.laid, control)
        )

    @functools.cached_property
    def edges(self) -> Floats:
        """Asked bar lines (and the asked end) in quarters of the realised piece."""
        return _quarters(self.notes.tempo, self.plan.seconds)

    @functools.cached_property
    def bars(self) -> Bars:
        """The asked bars on the page of the realised piece, with its own meters.

        A note that begins up to 1/32 of a quarter early belongs to the bar that it anticipates.
        """
        starts = np.array([meter.start for meter in self.notes.meters])
        found = np.searchsorted(starts, self.edges[:-1] + attributes.SIMULTANEOUS, side="right")
        meters = tuple(self.notes.meters[index] for index in (found - 1).clip(0))
        return Bars(self.edges - attributes.SIMULTANEOUS, meters)

    @functools.cached_property
    def played(self) -> Notes:
        """The pitched notes that begin within the asked bars."""
        inside = self.notes.onset < self.bars.edges[-1]
        return self.notes.select(inside & (self.notes.program != DRUMS))

    @functools.cached_property
    def key(self) -> keys.Key:
        """By the finder that labels the corpus, the more accurate one."""
        return keys.estimate_key(self.notes)

    @functools.cached_property
    def second_key(self) -> keys.Key:
        """By a finder that does not label."""
        return temperley.estimate_key(self.notes)

    @functools.cached_property
    def key_shares(self) -> Floats:
        """(mode, tonic): how much of what is played is in each key, as takes are chosen by it."""
        if len(self.played) == 0:
            return np.zeros((2, 12))
        present = temperley.sounding(self.played)
        return temperley.key_shares(present, temperley.TRAINED).reshape(2, 12)

    @functools.cached_property
    def measured(self) -> dict[str, Floats]:
        """Every attribute of each asked bar, in the prescription's units.

        Chromaticism is held against the asked key, or the key heard where none is asked.
        """
        seconds = np.diff(self.plan.seconds)
        felt_beats = np.diff(self.edges) / [meter.felt_beat for meter in self.bars.meters]
        shift, mode = -self.plan.transposition, self.plan.mode
        if self.prescription.key is None or mode is None:
            shift, mode = self.key.to_canonical, self.key.mode
        found = attributes.measure(self.played.transpose(shift), self.bars, mode=mode)
        onsets = attributes.onset_counts(self.played, self.bars) / seconds
        dynamics = attributes.loudness_db(self.played, self.bars)
        register = found["register"] - shift
        energy = emotion.energy(onsets, dynamics, found["articulation"], register)
        return found | {
            "tempo": 60.0 * felt_beats / seconds,
            "density": onsets,
            "polyphony": np.where(found["polyphony"] > 0, found["polyphony"], np.nan),
            "register": register,
            "dynamics": dynamics,
            "energy": energy,
        }

    @functools.cached_property
    def anchors_found(self) -> float | None:
        """Asked places at which the anchor sounds, within half a beat; None where none is asked."""
        motif, quarters = self.prescription.anchor, self.plan.bars.meters[0].felt_beat
        if motif is None:
            return None
        found = self.notes.tempo.seconds(anchor.find(motif, self.notes))
        beats = np.append(np.arange(0.0, self.plan.end_quarters, quarters), self.plan.end_quarters)
        heard = np.interp(found, self.plan.tempo.seconds(beats), beats)
        starts = np.array([place.onset[0] for place in self.plan.anchors])
        near = np.abs(heard - starts[:, None]) <= quarters / 2
        return float(near.any(axis=1).sum())

    @functools.cached_property
    def peak_heard(self) -> float | None:
        """The bar line around which the energy of `PHRASE` bars is highest; None without an arc."""
        if self.prescription.arc is None:
            return None
        half = PHRASE // 2
        around = phrase_means(self.measured["energy"], PHRASE)[half : len(self.plan) - half + 1]
        return half + float(np.nanargmax(around)) if np.isfinite(around).any() else None

    @functools.cached_property
    def appoggiaturas(self) -> float | None:
        """How many there are in the bar of the arc's peak; None where none is asked."""
        climax = self.plan.climax
        if climax is None:
            return None
        start, end = self.edges[climax.bar : climax.bar + 2]
        return float(appoggiatura.heard(self.played, start, end))

    @functools.cached_property
    def longest_silence(self) -> float:
        """Longest rest before the last release, in asked bars; later ones as long as the last."""
        notes = self.notes
        order = np.argsort(notes.onset)
        reach = np.maximum.accumulate(np.append(0.0, notes.release[order]))[:-1]
        ends = notes.tempo.seconds(np.stack([reach, notes.onset[order]]))
        last = self.plan.seconds[-1] - self.plan.seconds[-2]
        beyond = np.maximum(ends - self.plan.seconds[-1], 0.0) / last
        bars = np.interp(ends, self.plan.seconds, np.arange(len(self.plan) + 1.0)) + beyond
        return float(np.max(bars[1] - bars[0]).clip(0.0))

    @functools.cached_property
    def tempo_change(self) -> TempoChange:
        """How the tempo changes over the felt beats of the music."""
        felt = self.notes.meters[0].felt_beat
        last = float(self.edges[-1])
        return tempo_change(self.notes.tempo.seconds(np.arange(0.0, last + 1e-6, felt)))

    @functools.cached_property
    def bars_per_breath(self) -> float | None:
        """Bars of the notes that a breath takes on average; None where nothing breathes."""
        if self.plan.breath is None:
            return None
        bars = (self.edges[-1] - self.edges[0]) / self.notes.meters[0].quarters
        return float(bars / self.plan.breath.total)

    # ------------------------------------------------------------ what it sounds like

    @functools.cached_property
    def consonance(self) -> Consonance:
        """Of the chords of the notes; ValueError where there are none."""
        return consonance(self.notes)

    @functools.cached_property
    def emotion(self) -> emotion.Emotion:
        """Predicted emotion around each asked bar, from means over `PHRASE` bars."""
        found, home = self.measured, self.played.transpose(self.key.to_canonical)
        names = ("density", "dynamics", "articulation", "register")
        pace, dynamics, articulation, register = (
            phrase_means(found[name], PHRASE) for name in names
        )
        major = phrase_means(keys.local_modes(home, self.bars), PHRASE)
        return emotion.predict(pace, dynamics, articulation, register, major)

    # ------------------------------------------------------------ on the sound

    @functools.cached_property
    def heard(self) -> Heard:
        assert self.sound is not None, "rows on sound are judged only where there is a sound"
        asked = self.prescription
        return Heard(*self.sound, asked.music_s, asked.playback_db_spl)

    @functools.cached_property
    def swell(self) -> pulse.Swell | None:
        """The swell heard in the music; None where none is asked for, or nothing sounds."""
        breath = self.plan.breath
        if breath is None or not np.isfinite(self.heard.integrated):
            return None
        level = self.heard.weighted.levels(acoustics.MOMENTARY_S)
        within = level.times <= breath.seconds - acoustics.MOMENTARY_S / 2
        return pulse.swell_of(level.values[within], breath.count(level.times[within]))

    @functools.cached_property
    def sound_tempo(self) -> Floats:
        """Felt tempo of each asked bar; NaN where none is heard."""
        heard = self.heard
        window = min(TEMPO_WINDOW_S, heard.music.shape[-1] / heard.rate - 0.5)
        if window < TEMPO_WINDOW_S / 2:
            return np.full(len(self.plan), np.nan)
        centres = (self.plan.seconds[:-1] + self.plan.seconds[1:]) / 2
        felt = self.plan.bars.meters[0].felt_beat
        asked = acoustics.Curve(centres, self.plan.bpm, "BPM")
        overall = beat_ratio(heard.onsets, asked, felt)
        if not abs(overall - 1.0) < SEARCH:
            return self.plan.bpm * overall
        expected = acoustics.Curve(centres, self.plan.bpm * felt, "BPM")
        found = tempo_of(heard.onsets, expected, window_s=window)
        if not np.isfinite(found.values).any():  # at the very edge of the search
            return self.plan.bpm * overall
        ratio = found.values / expected.at(found.times)
        return self.plan.bpm * ratio[_nearest(found.times, centres)]

    @functools.cached_property
    def final_silence(self) -> float:
        """Seconds at the end of the sound that stay 40 LU below the target loudness."""
        level = acoustics.lufs(self.heard.power)
        last = np.flatnonzero(level > self.prescription.target_lufs + SILENT_BELOW).max(initial=-1)
        return self.heard.seconds - acoustics.STEP_S * (float(last) + 1.0)


def _quarters(tempo: TempoMap, seconds: Floats) -> Floats:
    """Inverse of `TempoMap.seconds` for times from 0 up."""
    starts = tempo.seconds(tempo.start)
    segment = np.searchsorted(starts, seconds, side="right") - 1
    return tempo.start[segment] + (seconds - starts[segment]) * tempo.bpm[segment] / 60.0


def _nearest(times: Floats, wanted: Floats) -> NDArray[np.int64]:
    """Index of the time (rising) nearest to each wanted one."""
    return np.searchsorted((times[1:] + times[:-1]) / 2, wanted)
