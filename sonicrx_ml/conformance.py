"""The judge: is a track what its prescription asks for?

`judge` reads the finished MIDI (and sound) afresh, lays the prescription over bars again, and
compares. It knows nothing of how the music was made, so any system's files can be judged. It says
that a track is what was asked for, never that it works.

Everything is driven by `TOLERANCES`: one row per attribute and place of measurement says what is
asked, what is measured, how the two are compared and how far they may differ, and why. Tolerances
marked [E] are engineering choices; they were set from what a listener could notice, before any
track was judged.

Conventions
-----------
* Bars are the *asked* bars, as spans of seconds: music with another tempo or meter is compared with
  what was asked at the same moment. Notes that begin after the asked end count for the duration
  only. A bar that cannot tell (a rest has no register) is NaN here and None in a report.
* Curves are compared bar by bar; where a row has a `phrase`, means over so many bars are, since one
  bar's density or register is the composer's business and the model of perceived emotion behind
  these attributes was fitted to excerpts of several bars.
* Units are those of `prescription.CONTROLS`: density in onsets per second, register as it sounds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pretty_midi
from numpy.typing import NDArray
from scipy.stats import rankdata

from sonicrx_ml import acoustics, attributes, emotion, keys
from sonicrx_ml.notes import DRUMS, Bars, Floats, MidiError, Notes, TempoMap, read_midi
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import OPEN_METER, TONICS, Prescription

Where = Literal["notes", "sound"]
Rule = Literal["within", "within %", "at most", "at least", "rings on", "same", "same set"]
Outcome = Literal["pass", "fail", "not asked", "info"]
Sound: TypeAlias = tuple[NDArray[np.floating], int]
Value: TypeAlias = float | str | tuple[str, ...] | Floats | None

PHRASE = 4  # bars over which a listener hears density, register and the like [E]
LEAST_TOLD = 0.5  # share of bars that must have a value before a curve can pass [E]
TRUE_PEAK_CEILING = -1.0  # dBTP, EBU R 128
LONGEST_SILENCE = 2.0  # bars [E]
RING_S = 3.0  # that the last sound may ring on beyond its release [E]
SILENT_BELOW = -40.0  # LU re the target loudness; what is softer counts as silence [E]
TEMPO_WINDOW_S = 16.0
SERIES_POINTS = 600  # at most, in the series of a report

_NAME_OF_PROGRAM = {program: name for name, (program, _) in PALETTE.items()}


# ---------------------------------------------------------------- the report


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of a report. Curves show their means over bars as `asked` and `realised`."""

    attribute: str
    where: Where
    unit: str
    asked: float | str | None
    realised: float | str | None
    error: float | None
    """How far off, in `unit` (percent for the rule "within %"); None where nothing was measured."""
    rule: Rule
    tolerance: float | None
    """Largest error that passes; None for what is only reported."""
    verdict: Outcome
    limit: bool
    """True for a limit that holds for every track, asked or not; it does not count in the score."""
    source: str


@dataclass(frozen=True, slots=True)
class BarCurve:
    """An attribute over the asked bars; None where open, or where a bar cannot tell."""

    attribute: str
    where: Where
    unit: str
    asked: tuple[float | None, ...]
    realised: tuple[float | None, ...]
    phrase: int
    """Bars over which the two are compared."""
    rho: float | None
    """Spearman correlation over bars; None where either side does not vary."""


@dataclass(frozen=True, slots=True)
class Series:
    """Something measured over time; `asked` is the level its whole is held to, None for none."""

    name: str
    unit: str
    asked: float | None
    seconds: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the judge found. JSON in and out, without NaN."""

    prescription_id: str
    failure: str | None
    """Why the track could not be judged at all; None when it could."""
    verdicts: tuple[Verdict, ...]
    bar_seconds: tuple[float, ...]
    """Start of each asked bar, and last the asked end of the music."""
    curves: tuple[BarCurve, ...]
    series: tuple[Series, ...]

    @property
    def asked(self) -> tuple[str, ...]:
        """The attributes that the prescription asks for."""
        rows = (v for v in self.verdicts if v.verdict in ("pass", "fail") and not v.limit)
        return tuple(dict.fromkeys(row.attribute for row in rows))

    @property
    def met(self) -> tuple[str, ...]:
        """The asked attributes that pass wherever they were measured."""
        failed = {row.attribute for row in self.verdicts if row.verdict == "fail"}
        return tuple(name for name in self.asked if name not in failed)

    @property
    def score(self) -> float:
        """Average share of attributes (ASA, after MuseCoco): asked ones met; 0 for a failure."""
        return 0.0 if self.failure else len(self.met) / len(self.asked)

    def row(self, attribute: str, where: Where = "notes") -> Verdict:
        """The verdict on an attribute. Raises `ValueError` listing the rows there are."""
        for verdict in self.verdicts:
            if (verdict.attribute, verdict.where) == (attribute, where):
                return verdict
        legal = ", ".join(f"{v.attribute} ({v.where})" for v in self.verdicts)
        raise ValueError(f"no verdict on {attribute!r} ({where}); legal are {legal}")

    def to_dict(self) -> dict[str, Any]:
        return {"score": self.score} | asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        return cls(
            prescription_id=values["prescription_id"],
            failure=values["failure"],
            verdicts=tuple(Verdict(**row) for row in values["verdicts"]),
            bar_seconds=tuple(values["bar_seconds"]),
            curves=tuple(BarCurve(**_tupled(curve)) for curve in values["curves"]),
            series=tuple(Series(**_tupled(series)) for series in values["series"]),
        )

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        return cls.from_dict(json.loads(text))


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


# ---------------------------------------------------------------- what is looked at


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
        if name == "energy" and self.prescription.energy is not None:
            edges = self.plan.seconds / self.prescription.music_s
            return self.prescription.energy.means(edges)
        return self.plan.targets[name]

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
        return keys.estimate_key(self.notes)

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

    # ------------------------------------------------------------ on the sound

    @property
    def _sound(self) -> Sound:
        assert self.sound is not None, "rows on sound are judged only where there is a sound"
        return self.sound

    @property
    def sound_seconds(self) -> float:
        samples, rate = self._sound
        return samples.shape[-1] / rate

    @functools.cached_property
    def sound_tempo(self) -> Floats:
        """Felt tempo of each asked bar, heard within 8 % of the asked one; NaN where none is."""
        samples, rate = self._sound
        music = samples[..., : round(self.prescription.music_s * rate)]
        window = min(TEMPO_WINDOW_S, music.shape[-1] / rate - 0.5)
        if window < TEMPO_WINDOW_S / 2:
            return np.full(len(self.plan), np.nan)
        centres = (self.plan.seconds[:-1] + self.plan.seconds[1:]) / 2
        quarters = self.plan.bpm * self.plan.bars.meters[0].felt_beat
        expected = acoustics.Curve(centres, quarters, "BPM")
        heard = acoustics.tempo_near(music, rate, expected, window_s=window)
        ratio = heard.values / expected.at(heard.times)
        return self.plan.bpm * ratio[_nearest(heard.times, centres)]

    @functools.cached_property
    def loudness(self) -> float:
        return acoustics.integrated_loudness(*self._sound)

    @functools.cached_property
    def true_peak(self) -> float:
        return acoustics.true_peak(*self._sound)

    @functools.cached_property
    def power(self) -> Floats:
        """K-weighted power of every 100 ms of the sound (BS.1770-5)."""
        samples, rate = self._sound
        return acoustics.window_power(samples, rate, acoustics.STEP_S)

    @functools.cached_property
    def final_silence(self) -> float:
        """Seconds at the end of the sound that stay 40 LU below the target loudness."""
        audible = acoustics.lufs(self.power) > self.prescription.target_lufs + SILENT_BELOW
        last = np.flatnonzero(audible).max(initial=-1)
        return self.sound_seconds - acoustics.STEP_S * (float(last) + 1.0)


def _quarters(tempo: TempoMap, seconds: Floats) -> Floats:
    """Inverse of `TempoMap.seconds` for times from 0 up."""
    starts = tempo.seconds(tempo.start)
    segment = np.searchsorted(starts, seconds, side="right") - 1
    return tempo.start[segment] + (seconds - starts[segment]) * tempo.bpm[segment] / 60.0


def _nearest(times: Floats, wanted: Floats) -> NDArray[np.int64]:
    """Index of the time (rising) nearest to each wanted one."""
    return np.searchsorted((times[1:] + times[:-1]) / 2, wanted)


# ---------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A row of the table: what is asked, what is measured, and how far they may differ."""

    attribute: str
    where: Where
    unit: str
    rule: Rule
    tolerance: float | None
    """Largest error that passes; None: reported without a verdict."""
    control: str | None
    """The control that asks for it; None: a limit that holds for every track."""
    asked: Callable[[Case], Value]
    realised: Callable[[Case], Value]
    source: str
    """Where definition and tolerance come from; [E] marks an engineering choice."""
    phrase: int = 1
    """Curves: bars over which they are averaged before they are compared."""

    def is_asked(self, prescription: Prescription) -> bool:
        """Open controls are None; a final silence of 0 s is none."""
        return self.control is None or bool(getattr(prescription, self.control))


def _curve(
    name: str, unit: str, rule: Rule, tolerance: float, source: str, phrase: int = PHRASE
) -> Tolerance:
    """A row of a per-bar attribute on notes that has a control of its own."""
    return Tolerance(
        name, "notes", unit, rule, tolerance, name,
        lambda case: case.target(name), lambda case: case.measured[name], source, phrase,
    )  # fmt: skip


def _asked_key(case: Case) -> str | None:
    return case.prescription.key and f"{case.prescription.key} {case.plan.mode}"


def _heard_key(case: Case) -> str:
    return f"{TONICS[case.key.tonic]} {case.key.mode}"


def _heard_key_or_relative(case: Case) -> str:
    """The asked key where the one heard is it or its relative, which shares its scale."""
    home = TONICS[-case.key.to_canonical % 12]
    same_scale = {f"{home} major", f"{TONICS[(TONICS.index(home) + 9) % 12]} minor"}
    asked = _asked_key(case)
    return asked if asked in same_scale else _heard_key(case)


def _meters(case: Case) -> str:
    return ", ".join(dict.fromkeys(map(str, case.notes.meters)))


def _programs(case: Case) -> tuple[str, ...]:
    return tuple(map(instrument_name, case.plan.programs.values()))


def _instruments(case: Case) -> tuple[str, ...]:
    return tuple(instrument_name(int(p)) for p in np.unique(case.notes.program))


def instrument_name(program: int) -> str:
    """Palette name of a General MIDI program, else the name that General MIDI gives it."""
    if program == DRUMS:
        return "percussion"
    name = _NAME_OF_PROGRAM.get(program)
    return name or pretty_midi.program_to_instrument_name(program).lower()


# fmt: off
TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance("duration", "notes", "s", "within", 0.5, "duration_s",
              lambda case: case.prescription.music_s, lambda case: case.notes.end_seconds,
              "last release against duration less final silence; [E] under a beat at calm tempi"),
    _curve("tempo", "BPM", "within %", 2.0,
           "just noticeable is 1.5 to 3 % (Drake & Botte 1993)", phrase=1),
    Tolerance("key", "notes", "", "same", 0.0, "key",
              lambda case: case.prescription.key, lambda case: TONICS[case.key.tonic],
              "tonic; profiles of Albrecht & Shanahan 2013"),
    Tolerance("mode", "notes", "", "same", 0.0, "mode",
              lambda case: case.plan.mode, lambda case: case.key.mode,
              "profiles of Albrecht & Shanahan 2013"),
    Tolerance("key and mode", "notes", "", "same", None, "key", _asked_key, _heard_key,
              "both at once, CK of Text2midi; judged one by one above"),
    Tolerance("key or relative", "notes", "", "same", None, "key",
              _asked_key, _heard_key_or_relative,
              "CKD of Text2midi: the relative key, which shares the scale, counts as the asked"),
    Tolerance("meter", "notes", "", "same", 0.0, "meter",
              lambda case: case.prescription.meter or OPEN_METER, _meters,
              "time signatures of the file"),
    _curve("energy", "0-1", "within", 0.1,
           "arousal by Eerola et al. 2013, dynamics included; [E] .1 is .2 of 7 points a rating"),
    _curve("density", "onsets/s", "within %", 25.0,
           "[E] moves no predicted rating by over a quarter of 7 points (Eerola et al. 2013)"),
    _curve("polyphony", "notes", "within %", 25.0, "[E] one voice in four"),
    _curve("register", "MIDI pitch", "within", 4.0,
           "[E] moves no predicted rating by over .2 of 7 points (Eerola et al. 2013)"),
    _curve("articulation", "ratio", "within", 0.15,
           "[E] a third of the way from legato (1) to staccato (half the time to the next note)"),
    _curve("chromaticism", "ratio", "within", 0.05, "[E] one note in twenty"),
    Tolerance("dynamics", "notes", "dB", "within", None, "energy",
              lambda case: case.plan.loudness_db, lambda case: case.measured["dynamics"],
              "40 log10 of velocity over 64 (General MIDI 2); part of the energy, judged there",
              PHRASE),
    Tolerance("instruments", "notes", "", "same set", 0.0, "instruments", _programs, _instruments,
              "error is 1 - F1; [E] exact, since dislikes are part of a prescription"),
    Tolerance("longest silence", "notes", "bars", "at most", 0.0, None,
              lambda case: LONGEST_SILENCE, lambda case: case.longest_silence,
              "unasked rest before the last release; [E] longer ones sound like the end"),
    Tolerance("duration", "sound", "s", "rings on", 0.5, "duration_s",
              lambda case: case.prescription.duration_s, lambda case: case.sound_seconds,
              "length of the file; [E] under a beat at calm tempi; the end may ring 3 s"),
    Tolerance("tempo", "sound", "BPM", "within %", 4.0, "tempo",
              lambda case: case.target("tempo"), lambda case: case.sound_tempo,
              "search within 8 % over 16 s; [E] twice the noticeable, since soft onsets blur it"),
    Tolerance("loudness", "sound", "LUFS", "within", 1.0, "target_lufs",
              lambda case: case.prescription.target_lufs, lambda case: case.loudness,
              "integrated, ITU-R BS.1770-5; EBU R 128 allows 1 LU where .5 is not practicable"),
    Tolerance("true peak", "sound", "dBTP", "at most", 0.0, None,
              lambda case: TRUE_PEAK_CEILING, lambda case: case.true_peak,
              "ITU-R BS.1770-5 annex 2; ceiling of EBU R 128"),
    Tolerance("final silence", "sound", "s", "at least", RING_S, "final_silence_s",
              lambda case: case.prescription.final_silence_s, lambda case: case.final_silence,
              "40 LU below the target loudness; [E] the last sound may ring for 3 s"),
)
# fmt: on


# ---------------------------------------------------------------- judging


def judge(prescription: Prescription, midi: bytes, sound: Sound | None = None) -> Report:
    """Hold a track against its prescription.

    sound : samples (n,) or (2, n), full scale 1.0, and their rate in Hz; None leaves out its rows.
    What cannot be judged (an unreadable or empty MIDI file, a sound that is no sound) gives a
    failed report that says why, with every asked attribute failed.
    """
    planned = plan(prescription)
    try:
        case = Case(prescription, planned, read_midi(midi), sound)
        failure = _refusal(case)
    except MidiError as error:
        case = Case(prescription, planned, _NO_NOTES, sound)
        failure = f"MIDI: {error}"
    verdicts, curves = [], []
    for row in TOLERANCES:
        if row.where == "sound" and sound is None:
            continue
        asked = row.asked(case)
        realised = row.realised(case) if failure is None else None
        verdicts.append(_verdict(row, row.is_asked(prescription), asked, realised))
        if isinstance(asked, np.ndarray):
            curves.append(_bar_curve(row, asked, realised))
    return Report(
        prescription_id=prescription.id,
        failure=failure,
        verdicts=tuple(verdicts),
        bar_seconds=_plain_row(planned.seconds),
        curves=tuple(curves),
        series=(_loudness_series(case),) if sound is not None and failure is None else (),
    )


_NONE, _NO_INTS = np.zeros(0), np.zeros(0, np.int64)
_NO_NOTES = Notes(_NONE, _NONE, _NO_INTS, _NO_INTS, _NO_INTS)


def _refusal(case: Case) -> str | None:
    """Why this track cannot be judged, or None."""
    if len(case.played) == 0:
        return f"MIDI has no pitched notes within the {case.prescription.music_s:g} s asked"
    if case.sound is None:
        return None
    samples, _ = case.sound
    if case.sound_seconds < acoustics.SHORT_TERM_S:
        return f"sound lasts {case.sound_seconds:.3f} s; legal are {acoustics.SHORT_TERM_S:g} s up"
    return None if np.isfinite(samples).all() else "sound has samples that are not numbers"


def _verdict(row: Tolerance, is_asked: bool, asked: Value, realised: Value) -> Verdict:
    error = _error(row, asked, realised)
    outcome: Outcome
    if not is_asked:
        outcome = "not asked"
    elif row.tolerance is None:
        outcome = "info"
    else:
        outcome = "pass" if error is not None and error <= row.tolerance + 1e-9 else "fail"
    return Verdict(
        attribute=row.attribute,
        where=row.where,
        unit=row.unit,
        asked=_plain(asked),
        realised=_plain(realised),
        error=error if error is None else round(error, 6),
        rule=row.rule,
        tolerance=row.tolerance,
        verdict=outcome,
        limit=row.control is None,
        source=row.source,
    )


def _error(row: Tolerance, asked: Value, realised: Value) -> float | None:
    """How far off by the row's rule; None where something is missing."""
    match asked, realised:
        case None, _:
            return None
        case _, None:
            return None
        case np.ndarray(), np.ndarray():
            return _curve_error(row, asked, realised)
        case tuple(), tuple():
            wanted, found = set(asked), set(realised)
            return 1.0 - 2.0 * len(wanted & found) / (len(wanted) + len(found))
        case str(), str():
            return float(asked != realised)
        case float(), float():
            excess = realised - asked
            error = {
                "within": abs(excess),
                "at most": excess,
                "at least": -excess,
                "rings on": max(-excess, excess - RING_S, 0.0),
            }
            return error[row.rule] if np.isfinite(excess) else None
    raise AssertionError(f"{row.attribute}: cannot compare {asked!r} with {realised!r}")


def _curve_error(row: Tolerance, asked: Floats, realised: Floats) -> float | None:
    """Mean over bars of what phrases are off; None where too few bars can tell."""
    told = np.isfinite(realised) & np.isfinite(asked)
    if told.mean() < LEAST_TOLD:
        return None
    wanted = phrase_means(np.where(told, asked, np.nan), row.phrase)
    off = np.abs(phrase_means(np.where(told, realised, np.nan), row.phrase) - wanted)
    return float(np.nanmean(100.0 * off / wanted if row.rule == "within %" else off))


def phrase_means(values: Floats, phrase: int) -> Floats:
    """Mean over the `phrase` bars around each bar of those that have a value; NaN for none."""
    told = np.isfinite(values)
    columns = np.stack([np.where(told, values, 0.0), told.astype(float)], axis=1)
    total, count = keys.moving_sum(columns, phrase).T
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _bar_curve(row: Tolerance, asked: Floats, realised: Value) -> BarCurve:
    found = realised if isinstance(realised, np.ndarray) else np.full(len(asked), np.nan)
    return BarCurve(
        attribute=row.attribute,
        where=row.where,
        unit=row.unit,
        asked=_plain_row(asked),
        realised=_plain_row(found),
        phrase=row.phrase,
        rho=_spearman(asked, found),
    )


def _spearman(asked: Floats, realised: Floats) -> float | None:
    told = np.isfinite(asked) & np.isfinite(realised)
    if told.sum() < 3 or np.ptp(asked[told]) < 1e-6 or np.ptp(realised[told]) < 1e-6:
        return None
    ranks = rankdata(asked[told]), rankdata(realised[told])
    return round(float(np.corrcoef(*ranks)[0, 1]), 6)


def _loudness_series(case: Case) -> Series:
    """Short-term loudness (EBU Tech 3341), thinned out for long sounds."""
    width = round(acoustics.SHORT_TERM_S / acoustics.STEP_S)
    values = acoustics.lufs(np.convolve(case.power, np.full(width, 1.0 / width), mode="valid"))
    times = acoustics.SHORT_TERM_S / 2 + acoustics.STEP_S * np.arange(len(values))
    step = -(-len(values) // SERIES_POINTS)
    return Series(
        "short-term loudness",
        "LUFS",
        case.prescription.target_lufs,
        _plain_row(times[::step]),
        _plain_row(values[::step]),
    )


def _plain(value: Value) -> float | str | None:
    """A value as it is shown: curves by their mean, nothing that JSON has not."""
    if isinstance(value, np.ndarray):
        told = value[np.isfinite(value)]
        return round(float(told.mean()), 6) if len(told) else None
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, str) or value is None:
        return value
    return round(float(value), 6) if np.isfinite(value) else None


def _plain_row(values: NDArray[np.floating]) -> tuple[Any, ...]:
    return tuple(round(v, 6) if np.isfinite(v) else None for v in values.tolist())
