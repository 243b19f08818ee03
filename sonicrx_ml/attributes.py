"""What a bar of music *is*: tempo, key and mode, density, polyphony, register, timbre, energy ...

`ATTRIBUTES` names each attribute with its unit, definition and source. `measure` computes the
numbers, per bar, from notes: what the material cannot tell (a placeholder tempo, an empty bar) is
NaN, missing, never invented; of a piece they are the mean over bars that have one. `categorise`
computes key and timbre families, per bar; of a piece the key is `keys.estimate_key`, and the
families are those of all its notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonicrx_ml import emotion, keys
from sonicrx_ml.notes import DRUMS, Bars, Floats, Ints, Notes
from sonicrx_ml.palette import FAMILY_OF_PROGRAM

REFERENCE_VELOCITY = 64  # 0 dB in loudness relative to the middle of the dynamic range
FLAT_VELOCITY = 2.0  # standard deviation below which velocities carry no dynamics
SIMULTANEOUS = 1 / 32  # onsets closer than this many quarters are one onset


@dataclass(frozen=True, slots=True)
class Attribute:
    """One measurable quality: its unit, what it means, and where the definition comes from."""

    name: str
    unit: str
    meaning: str
    source: str


NUMBERS = (
    Attribute("tempo", "felt BPM", "felt beats per minute over the bar", "tempo map"),
    Attribute(
        "mode",
        "P(major)",
        "probability that the neighbourhood of the bar is major rather than minor",
        "Albrecht & Shanahan 2013 profiles",
    ),
    Attribute(
        "density", "onsets/felt beat", "distinct onset times per felt beat", "Eerola et al. 2013"
    ),
    Attribute(
        "polyphony", "notes", "mean number of notes sounding while any sounds", "defined here"
    ),
    Attribute("register", "MIDI pitch", "mean pitch of the notes that begin", "Eerola et al. 2013"),
    Attribute(
        "articulation",
        "ratio",
        "mean of note length over time to the next onset of its instrument, at most 1 (legato)",
        "defined here",
    ),
    Attribute(
        "chromaticism",
        "ratio",
        "share of note time outside the scale (minor: natural plus raised seventh)",
        "scale consistency, Mogren 2016",
    ),
    Attribute(
        "loudness",
        "dB re velocity 64",
        "mean level of the notes by the 40 log10 law; missing where velocities are flat",
        "General MIDI 2 recommendation",
    ),
    Attribute(
        "energy",
        "0-1",
        "arousal proxy from pace, articulation and register at 0 dB: dynamics are added in "
        "performance",
        "refit of Eerola et al. 2013 (emotion.py)",
    ),
)
CATEGORIES = (
    Attribute(
        "key",
        "0-23",
        "likeliest key of the 8 bars around the bar: C major is 0, B major 11, C minor 12, "
        "B minor 23; -1 where too little sounds",
        "Albrecht & Shanahan 2013 profiles",
    ),
    Attribute(
        "families",
        "bits",
        "timbre families that sound in the bar: bit i for the i-th of `palette.FAMILIES`",
        "General MIDI Level 1 programs, grouped in palette.py",
    ),
)
ATTRIBUTES = (*NUMBERS, *CATEGORIES)
NAMES = tuple(attribute.name for attribute in NUMBERS)

_DIATONIC = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
# Pitch classes of C major, and of A minor: natural, and the raised seventh.
SCALES = {"major": _DIATONIC, "minor": _DIATONIC | (np.arange(12) == 8)}


def measure(
    notes: Notes, bars: Bars, *, mode: str, tempo_known: bool = True, bars_known: bool = True
) -> dict[str, Floats]:
    """Every attribute of `NUMBERS` for each bar; NaN where missing.

    notes : in C major or A minor (`mode` says which), on the bar grid `bars`.
    tempo_known : False for a placeholder tempo: tempo and energy are missing.
    bars_known : False where bar lines mean nothing: density (per beat) and mode are missing.
    """
    notes = notes.select(notes.program != DRUMS)
    felt_beats = np.diff(bars.edges) / np.array([meter.felt_beat for meter in bars.meters])
    seconds = np.diff(notes.tempo.seconds(bars.edges))
    onsets = onset_counts(notes, bars)
    missing = np.full(len(bars), np.nan)
    values = {
        "tempo": 60.0 * felt_beats / seconds if tempo_known else missing,
        "mode": keys.local_modes(notes, bars) if bars_known else missing,
        "density": onsets / felt_beats if bars_known else missing,
        "polyphony": polyphony(notes, bars),
        "register": _bar_mean(notes, bars, notes.pitch.astype(float)),
        "articulation": _bar_mean(notes, bars, legato_ratio(notes)),
        "chromaticism": chromaticism(notes, bars, mode),
    }
    flat = len(notes) == 0 or np.std(notes.velocity) < FLAT_VELOCITY
    values["loudness"] = missing if flat else loudness_db(notes, bars)
    values["energy"] = (
        emotion.energy(onsets / seconds, 0.0, values["articulation"], values["register"])
        if tempo_known
        else missing
    )
    return values


def categorise(notes: Notes, bars: Bars) -> dict[str, Ints]:
    """Every attribute of `CATEGORIES` for each bar; notes in C major or A minor."""
    return {"key": local_keys(notes, bars), "families": local_families(notes, bars)}


def local_keys(notes: Notes, bars: Bars) -> Ints:
    """(n_bars,): the likeliest of 24 keys around each bar, as `keys.local_modes` hears it."""
    windows = keys.moving_sum(keys.bar_histograms(notes, bars), keys.WINDOW)
    scores = keys.SHARPNESS * keys.correlate(windows)
    scores[:, list(keys.HOME_KEYS)] += keys.HOME_NATS
    return np.where(windows.sum(axis=1) >= keys.MIN_QUARTERS, scores.argmax(axis=1), -1)


def local_families(notes: Notes, bars: Bars) -> Ints:
    """(n_bars,): the families that sound in each bar, as bits; programs without one count not."""
    family = FAMILY_OF_PROGRAM[notes.program]
    bits = np.zeros(len(bars), np.int64)
    for index in np.unique(family[family >= 0]):
        mine = notes.select(family == index)
        sounding = _time_within(mine.onset, mine.release, bars.edges) > 1e-9
        bits |= sounding.astype(np.int64) << index
    return bits


def loudness_db(notes: Notes, bars: Bars) -> Floats:
    """Mean level of a bar's notes re velocity 64; NaN if there are none.

    GM synthesizers follow the law 40 log10(velocity).
    """
    level = 40.0 * np.log10(np.maximum(notes.velocity, 1) / REFERENCE_VELOCITY)
    return _bar_mean(notes, bars, level)


def onset_counts(notes: Notes, bars: Bars) -> Floats:
    """Distinct onset times in each bar."""
    order = np.sort(notes.onset)
    distinct = order[np.diff(order, prepend=-np.inf) > SIMULTANEOUS]
    return np.bincount(bars.index(distinct), minlength=len(bars)).astype(float)


def polyphony(notes: Notes, bars: Bars) -> Floats:
    """Mean number of sounding notes over the sounding part of each bar; 0 for a silent bar."""
    sounding = _time_within(notes.onset, notes.release, bars.edges)
    starts, ends = _union(notes.onset, notes.release)
    covered = _time_within(starts, ends, bars.edges)
    return np.where(covered > 1e-9, sounding / np.maximum(covered, 1e-9), 0.0)


def legato_ratio(notes: Notes) -> Floats:
    """Each note's length over the time to the next onset of its instrument, at most 1.

    The last onset of an instrument counts as legato: nothing follows it.
    """
    gap = gap_to_next(notes)
    return np.where(np.isinf(gap), 1.0, np.minimum(1.0, notes.duration / gap))


def gap_to_next(notes: Notes) -> Floats:
    """Quarters from each onset to the next of its instrument; infinite for the last."""
    gap = np.full(len(notes), np.inf)
    for program in np.unique(notes.program):
        rows = np.flatnonzero(notes.program == program)
        onsets = np.unique(notes.onset[rows])
        following = np.searchsorted(onsets, notes.onset[rows] + SIMULTANEOUS, side="right")
        gap[rows] = np.append(onsets, np.inf)[following] - notes.onset[rows]
    return gap


def chromaticism(notes: Notes, bars: Bars, mode: str) -> Floats:
    """Share of note time outside the scale in each bar; NaN for a bar without notes."""
    histogram = keys.bar_histograms(notes, bars)
    total = histogram.sum(axis=1)
    outside = histogram[:, ~SCALES[mode]].sum(axis=1)
    return np.divide(outside, total, out=np.full(len(bars), np.nan), where=total > 0)


def _bar_mean(notes: Notes, bars: Bars, per_note: Floats) -> Floats:
    bar = bars.index(notes.onset)
    count = np.bincount(bar, minlength=len(bars))
    total = np.bincount(bar, per_note, minlength=len(bars))
    return np.divide(total, count, out=np.full(len(bars), np.nan), where=count > 0)


def _time_within(starts: Floats, ends: Floats, edges: Floats) -> Floats:
    """Summed overlap of the intervals with each [edge, next edge)."""

    def before(points: Floats) -> Floats:
        ordered = np.sort(points)
        sums = np.concatenate([[0.0], np.cumsum(ordered)])
        count = np.searchsorted(ordered, edges)
        return count * edges - sums[count]

    return np.diff(before(starts) - before(ends))


def _union(starts: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """The intervals merged where they overlap or touch."""
    order = np.argsort(starts)
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    opens = np.concatenate([[True], starts[1:] > reach[:-1]])[: len(starts)]
    last = np.append(np.flatnonzero(opens)[1:] - 1, len(starts) - 1)[: opens.sum()]
    return starts[opens], reach[last]
