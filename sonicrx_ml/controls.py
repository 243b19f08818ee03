"""The controls of a prescription: what each means, its unit, what is legal, and its default.

A control whose default is None may be left *open*, to the composer. `vocabulary` prints them all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, NoReturn

from sonicrx_ml import anchor, arc, entrainment
from sonicrx_ml.anchor import Motif
from sonicrx_ml.curve import Curve, is_number, to_float
from sonicrx_ml.palette import FAMILIES, PALETTE

#: Tonic spellings that are printed, by pitch class.
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")
METERS = ("4/4", "3/4", "2/4", "6/8")


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
        _number("max_sharpness_acum", "acum", 1, 4, None, "sharpness cap, at the playback level"),
        _number("target_lufs", "LUFS", -40, -14, -23.0, "integrated loudness of the file"),
        # 65 dB SPL is about conversational speech: far below the weekly dose of ITU-R H.870 [E].
        _number("playback_db_spl", "dB SPL", 40, 85, 65.0, "playback level of a -23 LUFS track"),
        _number("seed", "", 0, 2**31 - 1, 0, "same seed, same notes"),
    )
}


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
