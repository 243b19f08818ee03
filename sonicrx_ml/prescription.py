"""The prescription: what a clinician asks of a piece of music, validated, JSON in and out.

Only the duration is required; a control that is None is *open*, left to the composer. The goal is a
label: a preset's, or one of your own, which then carries no evidence mark into the report. Curves
run over the fraction 0..1 of the *music*, that is of the duration less the final silence. Tempo is
in felt beats per minute (a quarter; a dotted quarter in compound meters).
`python -m sonicrx_ml.prescription` prints every control with its unit and legal values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sonicrx_ml import anchor, arc, breathing, entrainment
from sonicrx_ml.anchor import Motif
from sonicrx_ml.breathing import Breath
from sonicrx_ml.controls import CONTROLS, METERS, MODES, TONICS, Control, vocabulary
from sonicrx_ml.curve import Curve

__all__ = [
    "CONTROLS",
    "METERS",
    "MODES",
    "TONICS",
    "Control",
    "Curve",
    "Prescription",
    "vocabulary",
]

OPEN_TEMPO_BPM = 72.0  # [E] 6 breaths a minute in 4/4: 4 * 3 bars a breath * 6
OPEN_METER = "4/4"
OPEN_INSTRUMENTS = ("piano",)
REFERENCE_LUFS = -23.0  # of the track whose playback level is stated
MIN_MUSIC_S = 10.0
MIN_BARS = 2


def _default(name: str) -> Any:
    return CONTROLS[name].default


# ---------------------------------------------------------------- the prescription


@dataclass(frozen=True, kw_only=True, slots=True)
class Prescription:
    """What is asked of a track; see `CONTROLS` for meanings, units and legal values.

    Curves may be given in every form that `Curve.of` reads. Raises `ValueError` that names the
    control, the value and what is legal.
    """

    duration_s: float
    goal: str | None = None
    tempo: Curve | None = None
    key: str | None = None
    mode: str | None = None
    meter: str | None = None
    energy: Curve | None = None
    density: Curve | None = None
    polyphony: Curve | None = None
    register: Curve | None = None
    articulation: Curve | None = None
    chromaticism: Curve | None = None
    instruments: tuple[str, ...] | None = None
    strategy: str | None = None
    breaths_per_min: Curve | None = None
    inhale_share: float | None = None
    breath_depth_db: float | None = None
    arc: str | None = None
    arc_peak: float | None = None
    anchor: Motif | None = None
    anchor_at: tuple[float, ...] | None = None
    final_silence_s: float = _default("final_silence_s")
    max_sharpness_acum: float | None = None
    target_lufs: float = _default("target_lufs")
    playback_db_spl: float = _default("playback_db_spl")
    seed: int = _default("seed")

    def __post_init__(self) -> None:
        for name, control in CONTROLS.items():
            value = getattr(self, name)
            if value is not None or control.default is not None:
                object.__setattr__(self, name, control.check(value))
        _ = self.breath  # refuses what cannot be breathed
        self._check_strategy()
        self._check_length()

    def _check_strategy(self) -> None:
        if self.strategy is not None and self.tempo is not None and self.tempo.turns_back:
            raise ValueError(
                f"strategy {self.strategy!r} goes straight from start to target, and tempo "
                f"{self.tempo.to_json()} turns back; legal is one that only rises or only falls, "
                "or no strategy"
            )

    def _check_length(self) -> None:
        if self.music_s < MIN_MUSIC_S:
            raise ValueError(
                f"final_silence_s {self.final_silence_s:g} leaves {self.music_s:g} s of music in "
                f"duration_s {self.duration_s:g}; legal is a final silence of up to "
                f"{self.duration_s - MIN_MUSIC_S:g} s"
            )
        bars = self.felt_beats / self.felt_beats_per_bar
        least = MIN_BARS if self.arc is None else arc.BARS
        if bars < least:
            raise ValueError(
                f"duration_s {self.duration_s:g} holds {bars:.2f} bars of music at this tempo and "
                f"meter; legal is at least {least}: ask for a longer or faster track"
            )
        _ = self.anchor_shares  # refuses more places than there is room for

    @property
    def music_s(self) -> float:
        """Seconds of music: the duration less the final silence."""
        return self.duration_s - self.final_silence_s

    @property
    def tempo_curve(self) -> Curve:
        """The tempo asked, as it is laid out, or the default where it is open."""
        return self.laid().tempo or Curve.of(OPEN_TEMPO_BPM)

    @property
    def felt_beats(self) -> float:
        """Felt beats in the music: the integral of the tempo curve."""
        return float(self.tempo_curve.integral(1.0)) * self.music_s / 60.0

    @property
    def felt_beats_per_bar(self) -> int:
        beats, unit = (self.meter or OPEN_METER).split("/")
        return int(beats) // 3 if unit == "8" else int(beats)

    @property
    def bars(self) -> int:
        """Bars of the music: a last one that would hold less than half is none."""
        return int(self.felt_beats / self.felt_beats_per_bar + 0.5)

    @property
    def anchor_shares(self) -> tuple[float, ...]:
        """When the anchor is to begin, as in `anchor_at`; empty where there is none."""
        if self.anchor is None:
            if self.anchor_at is not None:
                raise ValueError("anchor_at without an anchor; legal is to ask for both")
            return ()
        return anchor.shares(self.anchor_at, self.anchor, self.meter or OPEN_METER, self.bars)

    @property
    def breath(self) -> Breath | None:
        """The swell of the loudness that is asked for."""
        if self.breaths_per_min is None:
            return None
        inhale, depth = self.inhale_share, self.breath_depth_db
        return Breath(
            self.breaths_per_min,
            self.music_s,
            breathing.INHALE if inhale is None else inhale,
            breathing.DEPTH_DB if depth is None else depth,
        )

    def laid(self) -> Prescription:
        """The same with strategy, breathing and arc worked into the curves, and none of the three.

        First the tempo is moved to whole bars a breath where that is near, then every curve is laid
        by the strategy, then the arc is laid over. Itself where none of them is asked.
        """
        if not (self.strategy or self.breaths_per_min or self.arc):
            return self
        kinds = CONTROLS.values()
        curves: dict[str, Any] = {c.name: getattr(self, c.name) for c in kinds if c.kind == "curve"}
        if curves.pop("breaths_per_min") is not None:
            curves["tempo"] = self._breathing_tempo()
        if self.strategy is not None:
            curves |= _by_strategy(curves, self.strategy, self.music_s, self.felt_beats_per_bar)
        if self.arc is not None:
            curves |= self._raised(curves)
        worked_in: dict[str, Any] = dict.fromkeys(_LAID)
        return replace(self, **worked_in | curves)

    def _breathing_tempo(self) -> Curve:
        rate, beats, legal = self.breaths_per_min, self.felt_beats_per_bar, CONTROLS["tempo"]
        assert rate is not None
        if self.tempo is None:
            return breathing.open_tempo(rate, beats, OPEN_TEMPO_BPM, legal.low, legal.high)
        return breathing.fitted(self.tempo, rate, beats, legal.low, legal.high)

    @property
    def peak(self) -> float | None:
        """Share of the music at which the arc is to peak; None where none is asked."""
        if self.arc is None:
            return None
        return arc.PEAK if self.arc_peak is None else self.arc_peak

    @property
    def peak_bar(self) -> int | None:
        """The bar that begins nearest to there, not the first nor the last."""
        return None if self.arc is None else self._peak_bar(self.tempo_curve)

    def _peak_bar(self, tempo: Curve) -> int:
        assert self.peak is not None
        in_bars = self.music_s / 60.0 / self.felt_beats_per_bar
        last = int(float(tempo.integral(1.0)) * in_bars + 0.5) - 1
        return max(1, min(round(float(tempo.integral(self.peak)) * in_bars), last - 1))

    def _raised(self, curves: Mapping[str, Curve | None]) -> dict[str, Curve]:
        """With the arc, whose peak begins at the bar line nearest to where it is asked."""
        tempo = curves["tempo"] or Curve.of(OPEN_TEMPO_BPM)
        in_bars = self.music_s / 60.0 / self.felt_beats_per_bar
        line = self._peak_bar(tempo)
        first, next_line, before = (
            float(tempo.invert_integral(max(line + bars, 0) / in_bars))
            for bars in (0, 1, -entrainment.SECTION_BARS)
        )
        found = arc.raised(curves, first, next_line - first, first - before)
        return {name: _within(curve, CONTROLS[name]) for name, curve in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; open controls are left out."""
        values = {name: getattr(self, name) for name in CONTROLS}
        return {name: _plain(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prescription:
        """From plain values. Refuses unknown controls, naming the legal ones."""
        for name in values:
            if name not in CONTROLS:
                raise ValueError(f"unknown control {name!r}; legal are {', '.join(CONTROLS)}")
        if "duration_s" not in values:
            raise ValueError(f"duration_s is required; legal are {CONTROLS['duration_s'].range} s")
        return cls(**values)

    def to_json(self) -> str:
        """Canonical JSON: equal prescriptions give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Prescription:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"a prescription is a JSON object, not {type(values).__name__}")
        return cls.from_dict(values)

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """A file name: the goal and the id."""
        return f"{self.goal or 'track'}-{self.id}"


def _plain(value: Any) -> Any:
    match value:
        case Curve():
            return value.to_json()
        case Motif():
            return value.to_dict()
    return value


_LAID = (
    "strategy", "breaths_per_min", "inhale_share", "breath_depth_db", "arc", "arc_peak"
)  # fmt: skip


def _by_strategy(
    curves: Mapping[str, Curve | None], strategy: str, seconds: float, beats_per_bar: int
) -> dict[str, Curve]:
    return {
        name: entrainment.laid_tempo(curve, strategy, seconds, beats_per_bar)
        if name == "tempo"
        else entrainment.laid(curve, strategy)
        for name, curve in curves.items()
        if curve is not None
    }


def _within(curve: Curve, control: Control) -> Curve:
    """The curve with its points moved into what is legal."""
    return Curve(tuple((at, min(max(v, control.low), control.high)) for at, v in curve.points))


if __name__ == "__main__":
    print(vocabulary())
