"""Does the music follow the prescription? Conformance over a suite of prescriptions.

The judged tracks of every *column* (the raw model, masked decoding, another system; see `suite`)
become figures with 95 % bootstrap intervals over prescriptions. Definitions follow Text2midi (tempo
bins, key), MuseCoco (average share of attributes), MuseMorphose (correlation over bars) and FIGARO
(density error).

Failures are failures, never dropped: a track that cannot be judged scores 0 in every share, and in
a correlation it stands at the median, which tells nothing. Only errors in BPM or seconds leave it
out, as it has none; their sample count says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from sonicrx_ml import emotion
from sonicrx_ml.keys import Key
from sonicrx_ml.labels import FIXED_EDGES
from sonicrx_ml.notes import Floats
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import TONICS
from sonicrx_ml.statistics import Estimate, Statistic, bootstrap, root_mean, spearman
from sonicrx_ml.suite import Judged
from sonicrx_ml.verdicts import Report, Verdict, Where

TEMPO_EDGES = FIXED_EDGES["tempo"]  # BPM, the bins of Text2midi
#: Attributes that have a value in every bar.
CURVES = ("tempo", "energy", "density", "polyphony", "register", "articulation", "chromaticism")
#: Attributes that move a whole piece.
KNOBS = (
    "tempo", "mode", "energy", "density", "polyphony", "register", "articulation", "chromaticism",
)  # fmt: skip
#: Energy of what the network alone chose: see `effects`.
AS_COMPOSED, COMPOSED_BPM = "energy as composed", 80.0

Side: TypeAlias = Literal["asked", "realised"]


def by_column(found: Mapping[str, Sequence[Judged]]) -> dict[str, dict[str, Any]]:
    """Everything that is said of columns: conformance, effects, sound and failures."""
    return {
        "conformance": {name: figures(judged) for name, judged in found.items()},
        "sound": {name: heard for name, judged in found.items() if (heard := qualities(judged))},
        "effects": {name: effects(judged) for name, judged in found.items()},
        "failures": {name: failures(judged) for name, judged in found.items()},
    }


def figures(judged: Sequence[Judged]) -> dict[str, Estimate]:
    """Every figure of a column, by name, in the order of the table."""
    found = {
        "attributes met (ASA)": _over_tracks(judged, lambda report: report.score),
        "failed": _over_tracks(judged, lambda report: float(report.failure is not None)),
    }
    for attribute, where, at in _rows(judged):
        name = f"{attribute} passes{at}" + (" (sound)" if where == "sound" else "")
        measure = partial(_passes, attribute=attribute, where=where, at=at)
        found[name] = _over_tracks(judged, measure)
    for where, place in (("notes", ""), ("sound", " (sound)")):
        for reach, name in enumerate(("tempo bin (TB)", "tempo bin or neighbour (TBT)")):
            measure = partial(_same_bin, where=where, reach=reach)
            found[name + place] = _over_tracks(judged, measure)
    found |= {
        "tempo error, BPM": _over_tracks(judged, partial(_tempo_error, where="notes")),
        "tempo error, BPM (sound)": _over_tracks(judged, partial(_tempo_error, where="sound")),
        "key and mode (CK)": _over_tracks(judged, partial(_agreement, attribute="key and mode")),
        "key or relative (CKD)": _over_tracks(
            judged, partial(_agreement, attribute="key or relative")
        ),
        "key and mode (CK) (sound)": _over_tracks(judged, partial(_heard_key, relative=False)),
        "key or relative (CKD) (sound)": _over_tracks(judged, partial(_heard_key, relative=True)),
        "instrument F1": _over_tracks(judged, partial(_agreement, attribute="instruments")),
        "duration error, s": _over_tracks(judged, _duration_error),
        "density NRMSE": _over_bars(judged, "density", root_mean, _relative_square),
        "other knobs moved (mean absolute rho)": spill(judged),
    }
    for name in CURVES:
        found[f"{name} over bars (rho)"] = _over_bars(judged, name, spearman, _pairs)
    for name in CURVES:
        found[f"{name} within a moving track (rho)"] = _over_tracks(
            judged, partial(_within, attribute=name)
        )
    return found


def qualities(judged: Sequence[Judged]) -> dict[str, Estimate]:
    """Means over tracks of what is measured on their sound, judged or not, with its unit.

    What hangs on the playback level is told apart for every level. A track where a figure could not
    be measured, or is flagged as not clear or not meant for it, is left out; the count says so.
    """
    values: dict[str, list[tuple[float, int]]] = {}
    for one in judged:
        for row in one.report.verdicts:
            clear = row.flag is None or row.section == "asked"
            if row.where == "sound" and isinstance(row.realised, float) and clear:
                unit = f", {row.unit}" if row.unit else ""
                name = f"{row.attribute}{unit}{_at_level(row)}"
                values.setdefault(name, []).append((row.realised, one.entry))
    return {
        name: bootstrap([value for value, _ in pairs], groups=[entry for _, entry in pairs])
        for name, pairs in values.items()
    }


def effects(judged: Sequence[Judged]) -> dict[str, dict[str, Estimate]]:
    """Spearman correlation over tracks of what is asked of one attribute with what all become.

    The diagonal is control, what lies beside it is how much one knob moves another. The realised
    mode is that of the key estimated over all 24, so no transposition moves it. Tempo, articulation
    and velocities of a performance are written, and the realised energy has them in it.
    `AS_COMPOSED` has not: it is the energy of the onsets per beat and of the register before
    transposition, played at `COMPOSED_BPM`, legato, at 0 dB.
    """
    asked = {name: np.array([level(j.report, name, "asked") for j in judged]) for name in KNOBS}
    realised = {
        name: _filled(np.array([level(j.report, name, "realised") for j in judged]))
        for name in KNOBS
    }
    realised[AS_COMPOSED] = _filled(np.array([_composed_energy(j) for j in judged]))
    entries = np.array([j.entry for j in judged])
    table: dict[str, dict[str, Estimate]] = {}
    for knob in KNOBS:
        rows = np.isfinite(asked[knob])
        table[knob] = {
            name: bootstrap(
                np.column_stack([asked[knob], realised[name]])[rows], spearman, entries[rows]
            )
            for name in realised
        }
    return table


def _composed_energy(judged: Judged) -> float:
    """Mean over bars of the energy without what plan and performance write."""
    names = ("tempo", "density", "register")
    bars = [_bars(judged.report, name) for name in names]
    tempo, density, register = (realised for _, realised in bars)
    composed = register - plan(judged.prescription).transposition
    energy = emotion.energy(density / tempo * COMPOSED_BPM, 0.0, 1.0, composed)
    told = energy[np.isfinite(energy)]
    return float(told.mean()) if len(told) else np.nan


def _over_tracks(judged: Sequence[Judged], measure: Callable[[Report], float | None]) -> Estimate:
    """Mean over the tracks that have a value: None is *not asked*, or an error that failed."""
    values = [(measure(j.report), j.entry) for j in judged]
    kept = [(value, entry) for value, entry in values if value is not None]
    return bootstrap([value for value, _ in kept], groups=[entry for _, entry in kept])


def _over_bars(
    judged: Sequence[Judged],
    attribute: str,
    statistic: Statistic,
    values: Callable[[Floats, Floats], Floats],
) -> Estimate:
    """A statistic over the bars of all tracks that were asked for the attribute."""
    chosen = [j for j in judged if attribute in j.report.asked]
    bars = [_bars(j.report, attribute) for j in chosen]
    if not bars:
        return bootstrap([])
    asked, realised = np.concatenate(bars, axis=1)
    entries = np.repeat([j.entry for j in chosen], [track.shape[1] for track in bars])
    return bootstrap(values(asked, realised), statistic, entries)


def _pairs(asked: Floats, realised: Floats) -> Floats:
    return np.column_stack([asked, _filled(realised)])


def _relative_square(asked: Floats, realised: Floats) -> Floats:
    """FIGARO's: the squared error over the squared target; a failed bar has no onsets."""
    return ((np.nan_to_num(realised) - asked) / asked) ** 2


def _filled(values: Floats) -> Floats:
    """Missing values at the median of the others (0 where there are none)."""
    told = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, np.median(told) if len(told) else 0.0)


def _rows(judged: Sequence[Judged]) -> list[tuple[str, Where, str]]:
    """Attributes that someone was asked for, in the judge's order, apart for every level."""
    verdicts = (verdict for j in judged for verdict in j.report.verdicts)
    found = {(v.attribute, v.where, _at_level(v)): v.tolerance is not None for v in verdicts}
    return [row for row, has_verdict in found.items() if has_verdict]


def _at_level(row: Verdict) -> str:
    """The playback level of a figure that hangs on one, as a suffix of its name."""
    return f" at {row.playback_db_spl:g} dB SPL" if row.playback_db_spl else ""


def _asked(report: Report, attribute: str, where: Where = "notes") -> Verdict | None:
    """The row of an attribute that is asked for; None where it is not, or was not measured."""
    row = report.find(attribute, where)
    return None if row is None or row.verdict == "not asked" else row


def _passes(report: Report, attribute: str, where: Where, at: str = "") -> float | None:
    row = _asked(report, attribute, where)
    return None if row is None or _at_level(row) != at else float(row.verdict == "pass")


def _agreement(report: Report, attribute: str) -> float | None:
    """1 less the error of a row whose error is a share."""
    row = _asked(report, attribute)
    if row is None:
        return None
    return 0.0 if row.error is None else 1.0 - row.error


def _heard_key(report: Report, relative: bool) -> float | None:
    """Whether key and mode heard in the sound are those asked, or `relative`, share their scale."""
    key, mode = report.find("key", "sound"), report.find("mode", "sound")
    if key is None or mode is None or key.asked is None or mode.asked is None:
        return None
    if key.realised is None or mode.realised is None:
        return 0.0
    asked, heard = (
        Key(TONICS.index(str(tonic)), str(name), 1.0)
        for tonic, name in ((key.asked, mode.asked), (key.realised, mode.realised))
    )
    same_scale = asked.to_canonical == heard.to_canonical
    return float(same_scale and (relative or asked.mode == heard.mode))


def _same_bin(report: Report, where: Where, reach: int) -> float | None:
    row = _asked(report, "tempo", where)
    if row is None:
        return None
    if row.realised is None:
        return 0.0
    levels = np.round(np.array([row.asked, row.realised], dtype=float), 1)  # no edge by rounding
    asked, realised = np.searchsorted(np.array(TEMPO_EDGES), levels, side="right")
    return float(abs(asked - realised) <= reach)


def _tempo_error(report: Report, where: Where) -> float | None:
    """Mean over the bars that tell of how far the tempo is off, BPM; None where none does."""
    if _asked(report, "tempo", where) is None or report.failure:
        return None
    off = np.abs(np.subtract(*_bars(report, "tempo", where)))
    return float(np.nanmean(off)) if np.isfinite(off).any() else None


def _duration_error(report: Report) -> float | None:
    row = report.find("duration")
    return None if row is None else row.error


def _within(report: Report, attribute: str) -> float | None:
    """Correlation over the bars of a track that was asked to move; 0 where it did not move."""
    curve = report.curve(attribute)
    if curve is None or _asked(report, attribute) is None or len(set(curve.asked)) == 1:
        return None
    return curve.rho or 0.0


def _bars(report: Report, attribute: str, where: Where = "notes") -> Floats:
    """(2, bars): asked and realised, NaN where there is none; no bars where none were measured."""
    curve = report.curve(attribute, where)
    values = ((), ()) if curve is None else (curve.asked, curve.realised)
    return np.array(values, dtype=float)


def spill(judged: Sequence[Judged]) -> Estimate:
    """Mean over pairs of different knobs of |rank correlation| of one asked, the other realised.

    0 where knobs are independent. An absolute value leans upward, and more so in resamples: the
    interval is the basic bootstrap's, which takes that lean back.
    """
    sides: tuple[Side, Side] = ("asked", "realised")
    asked, realised = (
        np.array([[level(j.report, name, side) for name in KNOBS] for j in judged], dtype=float)
        for side in sides
    )
    realised = np.column_stack([_filled(column) for column in realised.T])
    entries = [j.entry for j in judged]
    return bootstrap(np.column_stack([asked, realised]), _mean_spill, entries, basic=True)


def _mean_spill(weights: Floats, values: Floats) -> Floats:
    """A `Statistic` of (N, 2 knobs): asked, NaN where it is not, then realised."""
    count = values.shape[1] // 2
    found = [np.full(len(weights), np.nan)]
    for knob, other in itertools.permutations(range(count), 2):
        rows = np.isfinite(values[:, knob])
        if rows.any():
            pair = values[rows][:, [knob, count + other]]
            found.append(np.abs(spearman(weights[:, rows], pair)))
    told = np.isfinite(found)
    total = np.where(told, found, 0.0).sum(axis=0)
    return np.divide(total, told.sum(axis=0), out=found[0], where=told.any(axis=0))


def level(report: Report, attribute: str, side: Side) -> float:
    """What a whole track was asked, or became; mode as 0 (minor) or 1; NaN where there is none."""
    row = report.find(attribute)
    value = None if row is None else getattr(row, side)
    if row is None or value is None or (side == "asked" and row.verdict == "not asked"):
        return np.nan
    return float(value == "major") if attribute == "mode" else float(value)


def failures(judged: Sequence[Judged]) -> dict[str, str]:
    """Why tracks failed, by folder and name of their files: in a suite, the prescription's id."""
    names = [j.midi.name.removesuffix(j.midi.suffix) for j in judged]
    unlike = len(set(names)) == len(names)
    return {
        name if unlike else f"{j.midi.parent.name}/{name}": j.report.failure
        for name, j in zip(names, judged, strict=True)
        if j.report.failure
    }


__all__ = ["by_column", "effects", "failures", "figures", "level", "qualities", "spill"]
