"""The judge: is a track what its prescription asks for?

`judge` reads the finished MIDI (and sound) afresh, lays the prescription over bars again, and
compares, row by row of `tolerances.TOLERANCES`. It knows nothing of how the music was made, so any
system's files can be judged. It says that a track is what was asked for, never that it works.

Beside what was asked it reports whether the track is safe and what it sounds like (`qualities`).
With `psychoacoustics` that takes some 5 s of processor time a minute of stereo, and without, almost
nothing more: what is judged is the same.

Curves are compared bar by bar, or as means over the bars of a row's `phrase`: they must be near,
and where they are asked to move, move. `case` says how they are measured, `verdicts` what comes
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import acoustics
from sonicrx_ml.case import Case, Sound
from sonicrx_ml.notes import Floats, MidiError, Notes, read_midi
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.qualities import QUALITIES
from sonicrx_ml.statistics import spearman
from sonicrx_ml.tolerances import CLEAR_MOVE, LEAST_MOVED, TOLERANCES, Tolerance, Value
from sonicrx_ml.verdicts import (
    RING_S,
    BarCurve,
    Outcome,
    Report,
    Series,
    Verdict,
    phrase_means,
)

Flags = NDArray[np.bool_]

LEAST_TOLD = 0.5  # share of bars that must have a value before a curve can pass [E]
NOT_KNOWN = "not measured: there is nothing to tell it by"
FAR = 4.0  # tolerances off, from which `deviation` sees no difference
CLEAR_KEY = 0.65  # of a piece in the asked tonic or mode is enough: real music leaves both [E]
SERIES_POINTS = 600  # at most, in the series of a report


def judge(
    prescription: Prescription,
    midi: bytes | None,
    sound: Sound | None = None,
    *,
    psychoacoustics: bool = False,
) -> Report:
    """Hold a track against its prescription.

    midi : a Standard MIDI File; None leaves out its rows.
    sound : samples (n,) or (2, n), full scale 1.0, and their rate in Hz; None leaves out its rows.
    psychoacoustics : also measure what takes long: loudness in sone, sharpness, roughness,
        fluctuation strength, consonance. Always done where the prescription limits the sharpness.
    What cannot be judged (an unreadable or empty MIDI file, a sound that is no sound) gives a
    failed report that says why, with every asked attribute failed.
    """
    planned = plan(prescription)
    psychoacoustics = psychoacoustics or prescription.max_sharpness_acum is not None
    notes, failure = _read(midi, sound)
    case = Case(prescription, planned, notes, sound)
    failure = failure or _refusal(case, midi)
    verdicts, curves = [], []
    for row in _rows(midi is not None, sound is not None, psychoacoustics):
        asked = row.asked(case)
        realised, flag = _measured(row, case, asked) if failure is None else (None, None)
        verdicts.append(_verdict(row, case, asked, realised, flag))
        if isinstance(asked, np.ndarray):
            curves.append(_bar_curve(row, asked, realised))
    return Report(
        prescription_id=prescription.id,
        failure=failure,
        verdicts=tuple(verdicts),
        bar_seconds=_plain_row(planned.seconds),
        curves=tuple(curves),
        series=_series(case, psychoacoustics) if sound is not None and failure is None else (),
    )


def deviation(
    prescription: Prescription, planned: BarPlan, notes: Notes, first: int, last: int
) -> float:
    """How far bars `first` to `last` (not included) of a piece, or of a part of it, are off.

    Curves are compared in these bars, the rest in all that there is: a phrase may leave the key
    where what is around it makes up for it, as real music does.

    The mean over asked rows on notes of error over tolerance, each at most `FAR`; of a curve the
    mean of what phrases are off, as the judge has it, and of what single bars are, so that of two
    takes as near the one that follows every bar is nearer. Of tonic and mode, each for itself, it
    is what all lacks of `CLEAR_KEY`; what else is asked of the whole piece is right or `FAR`.
    """
    case = Case(prescription, planned, notes)
    span = slice(max(0, first), last)
    found = []
    for row in TOLERANCES:
        if row.where != "notes" or row.tolerance is None or not case.asks(row.control):
            continue
        if row.share is not None:
            found.append(FAR * max(0.0, 1.0 - row.share(case) / CLEAR_KEY))
            continue
        asked, realised = row.asked(case), row.realised(case)
        if isinstance(asked, np.ndarray) and isinstance(realised, np.ndarray):
            bar = replace(row, phrase=1)
            errors = [_curve_error(r, asked[span], realised[span]) for r in (row, bar)]
            known = [FAR if e is None else min(FAR, e / row.tolerance) for e in errors]
            found.append(float(np.mean(known)))
        elif row.rule == "same":
            found.append(FAR * float(asked != realised))
    return float(np.mean(found)) if found else 0.0


def _rows(notes: bool, sound: bool, psychoacoustics: bool) -> Iterator[Tolerance]:
    """The rows to judge by what there is; with neither notes nor sound those on notes fail."""
    given = {"notes": notes or not sound, "sound": sound}
    for row in (*TOLERANCES, *QUALITIES):
        if given[row.where] and (psychoacoustics or not row.on_request):
            yield replace(row, tolerance=None) if row.second and notes else row


_NONE, _NO_INTS = np.zeros(0), np.zeros(0, np.int64)
_NO_NOTES = Notes(_NONE, _NONE, _NO_INTS, _NO_INTS, _NO_INTS)


def _read(midi: bytes | None, sound: Sound | None) -> tuple[Notes, str | None]:
    """The notes, none where there are none, and why they cannot be judged, or None."""
    if midi is None:
        return _NO_NOTES, "neither MIDI nor sound" if sound is None else None
    try:
        return read_midi(midi), None
    except MidiError as error:
        return _NO_NOTES, f"MIDI: {error}"


def _refusal(case: Case, midi: bytes | None) -> str | None:
    """Why this track cannot be judged, or None."""
    if midi is not None and len(case.played) == 0:
        return f"MIDI has no pitched notes within the {case.prescription.music_s:g} s asked"
    if case.sound is None:
        return None
    try:
        rows = acoustics.checked(*case.sound)
        acoustics.require(rows, case.sound[1], acoustics.SHORT_TERM_S)
    except ValueError as error:
        return f"sound: {error}"
    return None


def _measured(row: Tolerance, case: Case, asked: Value) -> tuple[Value, str | None]:
    """What is realised, and a warning: of what is not known, why not."""
    try:
        realised, flag = row.realised(case), row.flag(case)
    except ValueError as error:
        if row.section == "asked":
            raise
        return None, f"not measured: {error}"
    return realised, flag or (_too_little(row, asked, realised) if case.asks(row.control) else None)


def _too_little(row: Tolerance, asked: Value, realised: Value) -> str | None:
    """Why what is realised cannot pass, or be told, where that is not for what it is."""
    if _plain(realised) is None:
        return NOT_KNOWN
    if not isinstance(asked, np.ndarray) or not isinstance(realised, np.ndarray):
        return None
    told = np.isfinite(realised) if row.tolerance is None else _told(asked, realised)
    return None if told.mean() >= LEAST_TOLD else f"only {told.sum()} of {len(told)} bars tell it"


def _told(asked: Floats, realised: Floats) -> Flags:
    """Whether each bar can be compared."""
    return np.isfinite(asked) & np.isfinite(realised)


def _verdict(
    row: Tolerance, case: Case, asked: Value, realised: Value, flag: str | None
) -> Verdict:
    error, moved = _error(row, asked, realised), _moved(row, asked, realised)
    outcome: Outcome
    if not case.asks(row.control):
        outcome = "not asked"
    elif row.tolerance is None:
        outcome = "info"
    else:
        near = error is not None and error <= row.tolerance + 1e-9
        outcome = "pass" if near and (moved is None or moved >= LEAST_MOVED) else "fail"
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
        limit=row.is_limit,
        source=row.source,
        moved=moved if moved is None else round(moved, 6),
        section=row.section,
        playback_db_spl=case.prescription.playback_db_spl if row.levelled else None,
        extent="whole" if realised is None else row.extent(case),
        flag=flag,
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
                "within %": 100.0 * abs(excess) / asked if asked else np.inf,
                "at most": excess,
                "at least": -excess,
                "rings on": max(-excess, excess - RING_S, 0.0),
            }
            return error[row.rule] if np.isfinite(excess) else None
    raise AssertionError(f"{row.attribute}: cannot compare {asked!r} with {realised!r}")


def _curve_error(row: Tolerance, asked: Floats, realised: Floats) -> float | None:
    """Mean over bars of what phrases are off; None where too few bars can tell."""
    if _told(asked, realised).mean() < LEAST_TOLD:
        return None
    wanted, found = _phrases(row, asked, realised)
    off = np.abs(found - wanted)
    return float(np.mean(100.0 * off / wanted if row.rule == "within %" else off))


def _moved(row: Tolerance, asked: Value, realised: Value) -> float | None:
    """Share of the asked movement that is made; None where no clear movement is asked."""
    if row.tolerance is None:
        return None
    if not isinstance(asked, np.ndarray) or not isinstance(realised, np.ndarray):
        return None
    levels = asked[_told(asked, realised)]
    if len(levels) == 0:
        return None
    unit = levels.mean() / 100.0 if row.rule == "within %" else 1.0
    if np.ptp(levels) < CLEAR_MOVE * row.tolerance * unit:
        return None
    wanted, found = _phrases(row, asked, realised)
    centred = wanted - wanted.mean()
    return float(centred @ found / (centred @ centred))


def _phrases(row: Tolerance, asked: Floats, realised: Floats) -> tuple[Floats, Floats]:
    """Asked and realised as they are compared: means over the row's phrases, where both tell."""
    told = _told(asked, realised)
    wanted, found = (
        phrase_means(np.where(told, values, np.nan), row.phrase) for values in (asked, realised)
    )
    heard = np.isfinite(wanted)
    return wanted[heard], found[heard]


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
    pairs = np.column_stack([asked, realised])[told]
    return round(float(spearman(np.ones((1, len(pairs))), pairs)[0]), 6)


def _series(case: Case, psychoacoustics: bool) -> tuple[Series, ...]:
    """What is drawn over time: the loudness, and on request loudness in sone and sharpness."""
    if not psychoacoustics:
        return (_loudness_series(case),)
    try:
        heard = case.heard.loudness
    except ValueError:  # its rows say why
        return (_loudness_series(case),)
    at = f"at {case.prescription.playback_db_spl:g} dB SPL"
    return (
        _loudness_series(case),
        _second_means("loudness", f"sone {at}", heard.sone),
        _second_means("sharpness", f"acum {at}", heard.acum),
    )


def _second_means(name: str, unit: str, curve: acoustics.Curve) -> Series:
    """Means over so many seconds that SERIES_POINTS are enough; at least one second."""
    step = max(1.0, np.ceil(curve.times[-1] / SERIES_POINTS))
    second, at = np.unique(np.floor(curve.times / step), return_inverse=True)
    values = np.bincount(at, curve.values) / np.bincount(at)
    return Series(name, unit, None, _plain_row((second + 0.5) * step), _plain_row(values))


def _loudness_series(case: Case) -> Series:
    """Short-term loudness (EBU Tech 3341), thinned out for long sounds."""
    width = round(acoustics.SHORT_TERM_S / acoustics.STEP_S)
    values = acoustics.lufs(
        np.convolve(case.heard.power, np.full(width, 1.0 / width), mode="valid")
    )
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
