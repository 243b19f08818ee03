"""Composing on to a given MIDI file: continue it, or fill bars of it anew.

What is kept of the file is kept in the file: its notes, tracks, controllers and tempi stay as they
are, and new tracks are laid beside them. The composer hears the given bars as it composes: in its
own key (the new music's), on the grid of its tokens, on families of instruments. So notes off the
grid sound as they did and are heard at the nearest position; what it does not hear is counted.

Bars are counted from 1, in the meters as they are read (a 2/2 as 4/4, a pickup as a bar of its
own). A continuation begins at the first bar line by which all has been released and follows its
prescription in everything, with what is open (key, mode, meter, tempo, instruments) as in the file.
Filled bars keep the file's tempo and meter; the prescription lies over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sonicrx_ml import attributes, canonical, given
from sonicrx_ml.canonical import Gridded
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import Composition, chooser
from sonicrx_ml.expression import perform
from sonicrx_ml.given import Source
from sonicrx_ml.labels import SILENT, SOUNDS, remaining_bucket, told_mode
from sonicrx_ml.notes import Floats, TempoMap, write_midi
from sonicrx_ml.palette import FAMILIES, FAMILY_OF_PROGRAM, PALETTE
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import CONTROLS, METERS, MIN_BARS, TONICS, Prescription
from sonicrx_ml.sampling import Given, SamplingConfig, sample
from sonicrx_ml.tokens import encode

LATE = 0.25  # quarters that a note may ring past the bar line at which a file is continued [E]
TEMPO_BARS = 4  # last bars of a file whose tempo goes on, where it is open [E]
OF_THE_FILE = ("breaths_per_min", "inhale_share", "breath_depth_db", "anchor", "anchor_at", "arc",
               "arc_peak")  # fmt: skip
"""Controls that filled bars leave out: they would move the tempo, which is the file's, or have a
motif return or an arc rise in bars that may be too few for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompted:
    """New music and the file it was composed on to."""

    composition: Composition
    "The new bars alone, from 0."
    midi: bytes
    "The file with the new bars in it."
    bars: tuple[int, int]
    "First and last new bar, counted from 1."
    kept: int
    "Notes of the file that are in it, each as it was."
    replaced: int
    "Notes of the file that the new bars took the place of."
    filled: bool
    "Whether they are within the file, and not behind it."


# ---------------------------------------------------------------- continue


def continuing(source: Source, prescription: Prescription) -> Prescription:
    """The prescription of what follows, with what is open as in the file.

    Raises `ValueError` where it is to breathe: only a whole file is mastered so.
    """
    if prescription.breaths_per_min is not None:
        raise ValueError("breaths_per_min, but what is given does not breathe; legal is none")
    count = len(source.bars)
    last_meter = str(source.bars.meters[-1])
    alike = [str(meter) == last_meter for meter in source.bars.meters[-TEMPO_BARS:]]
    same = alike[::-1].index(False) if False in alike else len(alike)
    open_values = _like(source, count)
    if prescription.tempo is None:
        open_values["tempo"] = given.felt_bpm(source, count - same, count)
    return _completed(prescription, source, count - 1, open_values)


def continued(
    source: Source,
    prescription: Prescription,
    bundle: Bundle,
    sampling: SamplingConfig | None = None,
) -> Prompted:
    """Compose on from the file's end; its last notes are not ended anew.

    Raises `ValueError` where the prescription asks for another meter than the file ends with.
    """
    count, each = len(source.bars), source.bars.meters[-1].quarters
    late = max(0.0, source.notes.end - source.bars.edges[-1] - LATE)
    held = int(np.ceil(late / each))
    start = source.bars.edges[-1] + held * each
    asked = continuing(source, prescription)
    laid = _entered(plan(asked))
    if prescription.instruments is None:
        laid = _on_the_file_s_programs(laid, source)
    before = _before(source, count, laid, len(laid), bundle, sampling)
    composition = _composed(asked, laid, before, bundle, sampling)
    score = given.score(source)
    given.append(score, composition.notes, start - source.shift)
    given.set_tempo(score, composition.plan.tempo, start - source.shift)
    bars = (count + held + 1, count + held + len(laid))
    return Prompted(composition, score.dumps_midi(), bars, len(source.notes), 0, False)


# ---------------------------------------------------------------- fill


def filling(source: Source, first: int, last: int, prescription: Prescription) -> Prescription:
    """The prescription of the bars between, as long as they are, at the file's tempo.

    Less than the shortest legal track is prescribed as a part of one.
    """
    seconds = given.seconds_of(source, first, last)
    least = (MIN_BARS + 0.5) * seconds / (last - first + 1)
    values: dict[str, Any] = dict.fromkeys(OF_THE_FILE) | {
        "duration_s": max(seconds, least, CONTROLS["duration_s"].low),
        "final_silence_s": 0.0,
        "tempo": given.felt_curve(source, first - 1, last),
    }
    return _completed(prescription, source, first - 1, _like(source, last), values)


def filled(
    source: Source,
    first: int,
    last: int,
    prescription: Prescription,
    bundle: Bundle,
    sampling: SamplingConfig | None = None,
) -> Prompted:
    """Compose bars `first` to `last` (from 1) anew; what began in them before goes.

    Raises `ValueError` for bars that are not there, or are not of one meter.
    """
    asked = filling(source, first, last, prescription)
    laid = _entered(_in_place(plan(asked), source, first - 1, last))
    if prescription.instruments is None:
        laid = _on_the_file_s_programs(laid, source)
    after = len(source.bars) - last
    before = _before(source, first - 1, laid, len(laid) + after, bundle, sampling)
    composition = _composed(asked, laid, before, bundle, sampling)
    score = given.score(source)
    begin, end = source.bars.edges[[first - 1, last]] - source.shift
    replaced = given.remove(score, begin, end)
    given.append(score, composition.notes, begin)
    kept = len(source.notes) - replaced
    return Prompted(composition, score.dumps_midi(), (first, last), kept, replaced, True)


def _in_place(laid: BarPlan, source: Source, first: int, stop: int) -> BarPlan:
    """The plan over the file's bars, at their own tempo."""
    laid = laid.part(0, stop - first)
    edges, tempo = source.bars.edges[first : stop + 1], source.notes.tempo
    begun = int(np.searchsorted(tempo.start, edges[0] + 1e-9, side="right")) - 1
    over = int(np.searchsorted(tempo.start, edges[-1]))
    seconds = tempo.seconds(edges) - tempo.seconds(edges[:1])
    bpm = 60.0 * np.diff(edges) / laid.bars.meters[0].felt_beat / np.diff(seconds)
    density = laid.targets["density"] * laid.bpm / bpm
    return replace(
        laid,
        tempo=TempoMap(np.maximum(tempo.start[begun:over] - edges[0], 0.0), tempo.bpm[begun:over]),
        seconds=seconds,
        end_quarters=float(edges[-1] - edges[0]),
        bpm=bpm,
        targets={**laid.targets, "tempo": bpm, "density": density},
        remaining=np.arange(len(source.bars) - first, len(source.bars) - stop, -1),
    )


# ---------------------------------------------------------------- both


def _completed(
    prescription: Prescription,
    source: Source,
    bar: int,
    open_values: Mapping[str, Any],
    values: Mapping[str, Any] | None = None,
) -> Prescription:
    """With values, and others for what is open; the meter must be the file's at a bar."""
    meter = str(source.bars.meters[bar])
    if meter not in METERS:
        raise ValueError(
            f"bar {bar + 1} is in {meter}; legal are files in {', '.join(METERS)} where new bars go"
        )
    if prescription.meter not in (None, meter):
        raise ValueError(
            f"meter {prescription.meter}, but bar {bar + 1} is in {meter}; legal is the file's"
        )
    missing = {name: v for name, v in open_values.items() if getattr(prescription, name) is None}
    return replace(prescription, **missing | {"meter": meter} | dict(values or {}))


def _like(source: Source, stop: int) -> dict[str, Any]:
    """Key, mode and instruments of a file up to a bar, for what is open."""
    families = [list(FAMILIES)[family] for family in given.most_used(source, stop)]
    names = [_named(family, _program_in(source, family)) for family in families]
    return {"key": TONICS[source.key.tonic], "mode": source.key.mode, "instruments": tuple(names)}


def _on_the_file_s_programs(laid: BarPlan, source: Source) -> BarPlan:
    """Families sound with the programs that the file has for them."""
    heard = {family: _program_in(source, family) for family in laid.families}
    programs = {family: program for family, program in heard.items() if program is not None}
    return replace(laid, programs={**laid.programs, **programs})


def _program_in(source: Source, family: str) -> int | None:
    """The program with which a file plays most notes of a family; None where it plays none."""
    mine = FAMILY_OF_PROGRAM[source.heard.program] == list(FAMILIES).index(family)
    return int(np.bincount(source.heard.program[mine]).argmax()) if mine.any() else None


def _named(family: str, program: int | None) -> str:
    """The instrument of the palette with this program, or else the first of the family."""
    names = [name for name, (_, of) in PALETTE.items() if of == family]
    return next((name for name in names if PALETTE[name][0] == program), names[0])


def _entered(laid: BarPlan) -> BarPlan:
    """Who has not entered by a bar of the arrangement has done so before it: a piece goes on."""
    entry = laid.playing.argmax(axis=0)
    return replace(laid, playing=laid.playing | (np.arange(len(laid))[:, None] < entry))


def _before(
    source: Source,
    stop: int,
    laid: BarPlan,
    remaining: int,
    bundle: Bundle,
    sampling: SamplingConfig | None,
) -> Given | None:
    """The bars before bar `stop` as the composer hears them, as many as it remembers."""
    memory = min(bundle.size.context, (sampling or SamplingConfig()).memory)
    moved = canonical.into_range(source.heard.transpose(-laid.transposition))
    whole = canonical.snap(moved, source.bars)
    size, first = 0, stop
    while first > 0:
        ids, _ = encode(_bars(whole, first - 1, stop), bundle.vocabulary)
        if len(ids) > memory:
            break
        size, first = len(ids), first - 1
    if not size:
        return None
    grid = _bars(whole, first, stop)
    bars = canonical.full_bars(grid.meters)
    tempo = TempoMap(bars.edges[:-1], _bar_bpm(source, first, stop))
    notes = canonical.unsnap(grid, bars, tempo)
    values = attributes.measure(notes, bars, mode=laid.mode or source.key.mode)
    values["mode"] = told_mode(values["mode"], attributes.local_keys(notes, bars))
    families = np.full((len(bars), len(FAMILIES)), SILENT)
    families[grid.bar, grid.family] = SOUNDS
    left = remaining_bucket(remaining + np.arange(stop - first, 0, -1))
    ids, _ = encode(grid, bundle.vocabulary)
    head = [bundle.vocabulary.bos] if first == 0 else []
    return Given(
        np.concatenate([head, ids[:-1]]).astype(np.uint16),
        np.column_stack([bundle.bins.digitize(values), left, families]),
    )


def _bars(grid: Gridded, first: int, stop: int) -> Gridded:
    rows = (grid.bar >= first) & (grid.bar < stop)
    return replace(
        grid,
        bar=grid.bar[rows] - first,
        position=grid.position[rows],
        length=grid.length[rows],
        pitch=grid.pitch[rows],
        family=grid.family[rows],
        velocity=grid.velocity[rows],
        meters=grid.meters[first:stop],
    )


def _bar_bpm(source: Source, first: int, stop: int) -> Floats:
    edges = source.bars.edges[first : stop + 1]
    bpm: Floats = 60.0 * np.diff(edges) / np.diff(source.notes.tempo.seconds(edges))
    return bpm


def _composed(
    asked: Prescription,
    laid: BarPlan,
    before: Given | None,
    bundle: Bundle,
    sampling: SamplingConfig | None,
) -> Composition:
    sampling = sampling or SamplingConfig()
    choose = chooser([asked], [laid])
    (grid,) = sample(bundle, [laid], [asked.seed], sampling, choose, [before])
    notes = perform(canonical.unsnap(grid), laid)
    return Composition(asked, laid, notes, write_midi(notes))
