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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, NoReturn

from sonicrx_ml import anchor, arc, breathing, entrainment
from sonicrx_ml.anchor import Motif
from sonicrx_ml.breathing import Breath
from sonicrx_ml.curve import Curve, is_number, to_float
from sonicrx_ml.palette import FAMILIES, PALETTE

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

#: Tonic spellings that are printed, by pitch class.
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")
METERS = ("4/4", "3/4", "2/4", "6/8")

OPEN_TEMPO_BPM = 72.0  # [E] 6 breaths a minute in 4/4: 4 * 3 bars a breath * 6
OPEN_METER = "4/4"
OPEN_INSTRUMENTS = ("piano",)
REFERENCE_LUFS = -23.0  # of the track whose playback level is stated
MIN_MUSIC_S = 10.0
MIN_BARS = 2


# ---------------------------------------------------------------- controls

Kind = Literal["number", "integer", "curve", "choice", "name", "instruments", "motif", "times"]
REQUIRED = "required"


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """One control of a prescription: what it means and what is legal."""

    name: str
    kind: Kind
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    legal: tuple[str, ...] = ()
    default: Any = None  # None: may be left open
    meaning: str

    @property
    def range(self) -> str:
        """Legal values in words."""
        match self.kind:
            case "number" | "curve":
                return f"{self.low:g} to {self.high:g}"
            case "integer":
                return f"whole numbers {self.low:g} to {self.high:.10g}"
            case "name":
                return "lower-case letters and _, up to 32"
            case "choice" | "instruments":
                return ", ".join(self.legal)
            case "motif":
                return "the JSON of a motif"
            case "times":
                return "rising shares up to 1, or seconds"

    def check(self, value: object) -> Any:
        """The value in its canonical form. Raises `ValueError` with what is legal."""
        match self.kind:
            case "curve":
                curve = Curve.of(value, self.name)
                for fraction, level in curve.points:
                    if not self.low <= level <= self.high:
                        self._refuse(f"{level:g} at fraction {fraction:g}")
                return curve
            case "integer":
                if not isinstance(value, Integral) or not self._holds(value):
                    self._refuse(repr(value))
                return int(value)
            case "number":
                if not self._holds(value):
                    self._refuse(repr(value))
                return to_float(value)
            case "name":
                if not isinstance(value, str) or not re.fullmatch(r"[a-z_]{1,32}", value):
                    self._refuse(repr(value))
                return value
            case "choice":
                chosen = _respell(value) if self.name == "key" else value
                if chosen not in self.legal:
                    self._refuse(repr(value))
                return chosen
            case "instruments":
                return self._check_instruments(value)
            case "motif":
                return Motif.of(value)
            case "times":
                return anchor.check_places(value)

    def _holds(self, value: object) -> bool:
        return is_number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def _refuse(self, shown: str) -> NoReturn:
        unit = f" {self.unit}" if self.unit else ""
        raise ValueError(f"{self.name} {shown}; legal are {self.range}{unit}")

    def _check_instruments(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            value = (value,)
        if not isinstance(value, Sequence) or len(value) == 0:
            self._refuse(repr(value))
        of_family: dict[str, str] = {}
        for name in value:
            if name not in self.legal:
                self._refuse(repr(name))
            family = PALETTE[name][1]
            if family in of_family:
                raise ValueError(
                    f"instruments {of_family[family]!r} and {name!r} are both of the family "
                    f"{family!r}; legal is one of each family: {', '.join(FAMILIES)}"
                )
            of_family[family] = name
        return tuple(value)


def _respell(key: object) -> object:
    """A tonic under the name in `TONICS`: C# -> Db, Cb -> B, e -> E."""
    found = re.fullmatch(r"([A-Ga-g])([#b♯♭]?)", key) if isinstance(key, str) else None
    if found is None:
        return key
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[found[1].upper()]
    return TONICS[(natural + {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[found[2]]) % 12]


def _curve(name: str, unit: str, low: float, high: float, meaning: str) -> Control:
    return Control(name=name, kind="curve", unit=unit, low=low, high=high, meaning=meaning)


def _number(
    name: str, unit: str, low: float, high: float, default: float | str | None, meaning: str
) -> Control:
    kind: Kind = "integer" if name == "seed" else "number"
    return Control(
        name=name, kind=kind, unit=unit, low=low, high=high, default=default, meaning=meaning
    )


def _choice(name: str, legal: tuple[str, ...], meaning: str) -> Control:
    return Control(name=name, kind="choice", legal=legal, meaning=meaning)


#: Every control, by name, in the order of the fields of `Prescription`.
CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        _number(
            "duration_s", "s", 10, 7200, REQUIRED, "length of the track, final silence included"
        ),
        Control(name="goal", kind="name", meaning="preset it started from, or a name of your own"),
        _curve("tempo", "BPM", 40, 210, "felt beats per minute (open: 72)"),
        _choice("key", TONICS, "tonic"),
        _choice("mode", MODES, "mode (open with a key: major)"),
        _choice("meter", METERS, "time signature (open: 4/4)"),
        _curve("energy", "", 0, 1, "arousal proxy: pace, loudness, staccato, register"),
        _curve("density", "onsets/s", 0.2, 8, "distinct onset times per second"),
        _curve("polyphony", "notes", 1, 8, "mean number of sounding notes"),
        _curve("register", "MIDI pitch", 40, 84, "mean pitch as it sounds"),
        _curve(
            "articulation", "", 0.2, 1, "sounding share of the time to the next note; 1 = legato"
        ),
        _curve("chromaticism", "", 0, 0.5, "share of note duration outside the scale"),
        Control(
            name="instruments",
            kind="instruments",
            legal=tuple(PALETTE),
            meaning="what may sound, one of each family (open: piano)",
        ),
        _choice(
            "strategy",
            entrainment.STRATEGIES,
            "how curves go to their last value: by a glide, or at once",
        ),
        _curve("breaths_per_min", "per minute", 3, 20, "rate at which the loudness breathes"),
        _number("inhale_share", "", 0.2, 0.8, None, "of a breath, in which it swells (open: .4)"),
        _number("breath_depth_db", "dB", 1, 12, None, "of the swell, trough to crest (open: 5)"),
        _choice("arc", arc.ARCS, "density, register, loudness rise to a peak, then rest"),
        _number("arc_peak", "", 0.3, 0.9, None, "share of the music at the peak (open: .7)"),
        Control(name="anchor", kind="motif", meaning="motif that returns (experimental)"),
        Control(
            name="anchor_at", kind="times", meaning="where it begins (open: start, middle, end)"
        ),
        _number("final_silence_s", "s", 0, 120, 0.0, "silence at the end"),
        _number("target_lufs", "LUFS", -40, -14, -23.0, "integrated loudness of the file"),
        # 65 dB SPL is about conversational speech: far below the weekly dose of ITU-R H.870 [E].
        _number("playback_db_spl", "dB SPL", 40, 85, 65.0, "playback level of a -23 LUFS track"),
        _number("seed", "", 0, 2**31 - 1, 0, "same seed, same notes"),
    )
}


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
    target_lufs: float = _default("target_lufs")
    playback_db_spl: float = _default("playback_db_spl")
    seed: int = _default("seed")

    def __post_init__(self) -> None:
        for name, control in CONTROLS.items():
            value = getattr(self, name)
            if value is not None or control.default is not None:
                object.__setattr__(self, name, control.check(value))
        _ = self.breath  # refuses what cannot be breathed
        self._check_length()

    def _check_length(self) -> None:
        if self.music_s < MIN_MUSIC_S:
            raise ValueError(
                f"final_silence_s {self.final_silence_s:g} leaves {self.music_s:g} s of music in "
                f"duration_s {self.duration_s:g}; legal is a final silence of up to "
                f"{self.duration_s - MIN_MUSIC_S:g} s"
            )
        bars = self.felt_beats / self.felt_beats_per_bar
        if bars < MIN_BARS:
            raise ValueError(
                f"duration_s {self.duration_s:g} holds {bars:.2f} bars of music at this tempo and "
                f"meter; legal is at least {MIN_BARS}: ask for a longer or faster track"
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

    def _raised(self, curves: Mapping[str, Curve | None]) -> dict[str, Curve]:
        peak = arc.PEAK if self.arc_peak is None else self.arc_peak
        bpm = float((curves["tempo"] or Curve.of(OPEN_TEMPO_BPM))(peak))
        phrase_s = entrainment.SECTION_BARS * self.felt_beats_per_bar * 60.0 / bpm
        found = arc.raised(curves, peak, phrase_s / self.music_s)
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


# ---------------------------------------------------------------- the vocabulary in print


def vocabulary() -> str:
    """Every control with unit, legal values, default and meaning, and the palette, as text."""
    rows = [("control", "unit", "legal", "default", "meaning")]
    for control in CONTROLS.values():
        legal = "see below" if control.kind == "instruments" else control.range
        default = "open" if control.default is None else f"{control.default}"
        unit = control.unit or "-"
        legal += " (curve)" if control.kind == "curve" else ""
        rows.append((control.name, unit, legal, default, control.meaning))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    lines += ["", "A curve is a number, [start, end], or [fraction, value] points.", ""]
    lines += ["Instruments, one of each family:"]
    for family in FAMILIES:
        names = [name for name, (_, of) in PALETTE.items() if of == family]
        lines.append(f"  {family.ljust(8)}{', '.join(names)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(vocabulary())
