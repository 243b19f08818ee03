"""Etudes: short pieces composed from rules, whose every attribute is known by construction.

They let training run where there is no data, and give attribute estimators a ground truth. `forms`
plans a piece and its sections, `harmony` finds the voices and the melody.

Conventions
-----------
* Inside, time is in whole ticks, `BEAT` to the felt beat (the dotted quarter in 6/8), and the
  tonic is C; both are undone when the notes are made.
* All chance comes from numpy generators seeded by `(seed, what for)`, so that fixing one field of
  the plan leaves the others as they were.
* Tempo is constant. The last bar is one held tonic chord.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sonicrx_ml import harmony
from sonicrx_ml.forms import BEAT, SCORINGS, TEXTURES, Plan, Section, draw_plan, lay_out
from sonicrx_ml.keys import Key
from sonicrx_ml.notes import Floats, Ints, Meter, Notes, TempoMap, write_midi

MANIFEST_COLUMNS = (
    "file", "tier", "split", "group", "source", "licence", "title", "composer", "tempo_explicit",
    "beat_aligned", "vel_std",
)  # fmt: skip
TRUTH_COLUMNS = (
    "file", "bars", "tonic", "mode", "bpm", "meter", "form", "scoring", "onsets", "degree",
    "section", "texture", "chords",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Etude:
    """A piece and the truth about it. Arrays and tuples have one entry a bar.

    bpm : felt beats a minute; onsets : distinct onset times per felt beat; degree : scale degree
    (1-7) of the root of the bar's first chord; section : index of the section; chords : symbols of
    `harmony.chord`, joined by blanks.
    """

    notes: Notes
    tonic: int
    mode: str
    bpm: int
    meter: Meter
    form: str
    scoring: str
    onsets: Floats
    degree: Ints
    section: Ints
    texture: tuple[str, ...]
    chords: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"Etude in {Key(self.tonic, self.mode)}, {self.form}"


def compose(seed: int, **fixed: int | str) -> Etude:
    """Compose a piece; `fixed` sets fields of `forms.LEGAL` that are otherwise drawn.

    `texture` applies to every section. Raises `ValueError` for an illegal field or value.
    """
    plan = draw_plan(seed, fixed)
    sections = lay_out(plan)
    return _perform(plan, sections, _Score(plan, sections))


# ---------------------------------------------------------------- score


class _Score:
    """Chords, voices, melody and moving bass of a whole piece, in ticks and in C.

    start, span : tick and length of each chord; voices : (n, 4) from `harmony.lead_voices`;
    melody, bass : (tick, pitch) arrays; the bass moves within a chord only in counterpoint.
    """

    def __init__(self, plan: Plan, sections: list[Section]) -> None:
        self.plan = plan
        self.chords = [bar for section in sections for bar in section.chords]
        self.symbols = [symbol for bar in self.chords for symbol in bar]
        self.bars = len(self.chords)
        first = BEAT * (1 if plan.beats == 2 else 2)  # ticks of the first of two chords in a bar
        within = [[0] if len(bar) == 1 else [0, first] for bar in self.chords]
        self.start = np.array(
            [i * plan.bar + tick for i, ticks in enumerate(within) for tick in ticks]
        )
        self.span = np.diff(self.start, append=self.bars * plan.bar)
        self.voices = self._lead_voices(sections)
        bass = self._ticks([s.bass for s in sections])
        self.bass = bass, self._line(bass, 0, sections, np.zeros_like(bass))
        melody = self._ticks([s.melody for s in sections])
        sounding = np.searchsorted(bass, melody, side="right") - 1
        self.melody = melody, self._line(melody, 3, sections, self.bass[1][sounding])

    def _lead_voices(self, sections: list[Section]) -> Ints:
        """Repeats share their taste: they are voiced alike unless a join asks otherwise."""
        targets, tastes = [], []
        for section in sections:
            rng = np.random.default_rng([self.plan.seed, 5, section.material])
            count = sum(len(bar) for bar in section.chords)
            height, depth, waves = rng.uniform((67, 3, 0.5), (73, 8, 2.2))
            turn = 2 * np.pi * (waves * np.arange(count) / count + rng.random())
            targets.append(height + depth * np.sin(turn))
            tastes.append(3.0 * rng.random((count, harmony.TASTES)))
        return harmony.lead_voices(
            self.symbols, self.plan.mode, np.concatenate(targets), np.concatenate(tastes)
        )

    def _ticks(self, rhythms: list[tuple[tuple[int, ...], ...]]) -> Ints:
        """Ticks of a line: the rhythm of each bar of each section, and the start of every chord."""
        bars = enumerate(itertools.chain(*rhythms))
        moving = [bar * self.plan.bar + tick for bar, rhythm in bars for tick in rhythm]
        return np.union1d(self.start, np.array(moving, dtype=np.int64))

    def _line(self, ticks: Ints, voice: int, sections: list[Section], against: Ints) -> Ints:
        """A melodic line through the notes of a voice, with the motif's contour."""
        slot = np.searchsorted(self.start, ticks, side="right") - 1
        contours, tastes = [], []
        for section in sections:
            rng = np.random.default_rng([self.plan.seed, 6, section.material, voice])
            contours.append(self._contour(rng, len(section.chords)))
            tastes.append(rng.random((len(section.chords) * self.plan.bar, harmony.STEPS)))
        pins = np.where(np.isin(ticks, self.start), self.voices[slot, voice], -1)
        return harmony.melodic_line(
            [self.symbols[i] for i in slot],
            self.plan.mode,
            pins=pins,
            strong=ticks % BEAT == 0,
            floor=self.voices[slot, 2] if voice == 3 else np.full(len(ticks), 40),
            against=against,
            contour=np.concatenate(contours)[ticks],
            taste=np.concatenate(tastes)[ticks],
        )

    def _contour(self, rng: np.random.Generator, bars: int) -> Ints:
        """Scale steps wished at each tick of a section: three motif bars in the order a b a c."""
        motifs = rng.choice([-2, -1, 1, 2], size=(3, self.plan.bar), p=[0.15, 0.35, 0.35, 0.15])
        return motifs[np.resize([0, 1, 0, 2], bars)].ravel()


# ---------------------------------------------------------------- notes


@cache
def _figure(texture: str, steps: int) -> tuple[Ints, Ints]:
    """Step and voice of each note of an accompaniment over `steps` steps."""
    cycle = TEXTURES[texture].cycle
    pairs = [(step, voice) for step in range(steps) for voice in cycle[step % len(cycle)]]
    step, voice = np.array(pairs).T
    return step, voice


def _accompany(score: _Score, sections: list[Section]) -> tuple[Ints, Floats, Ints]:
    """Tick, length in ticks and pitch of every accompanying note; the last bar is held."""
    ticks, lengths, pitches = [], [], []
    of_bar = [section for section in sections for _ in section.chords]
    for slot, (start, span) in enumerate(zip(score.start, score.span, strict=True)):
        section = of_bar[start // score.plan.bar]
        last = slot == len(score.start) - 1
        if section.texture == "counterpoint" and not last:
            continue
        texture = "pad" if last else section.texture
        step = span if last or section.step == 0 else min(section.step, span)
        index, voice = _figure(texture, int(-(-span // step)))
        ticks.append(start + index * step)
        whole = np.minimum(step, span - index * step)
        ring = np.minimum(section.length * whole, span - index * step)
        lengths.append(whole.astype(float) if last else ring)
        pitches.append(score.voices[slot, voice])
    moving = _moving_bass(score, sections)
    return (
        np.concatenate([*ticks, moving[0]]),
        np.concatenate([*lengths, moving[1]]),
        np.concatenate([*pitches, moving[2]]),
    )


def _moving_bass(score: _Score, sections: list[Section]) -> tuple[Ints, Floats, Ints]:
    """The bass of the sections in counterpoint, but for the last bar."""
    ticks, pitch = score.bass
    length = np.diff(ticks, append=score.bars * score.plan.bar).astype(float)
    moves = np.array([s.texture == "counterpoint" for s in sections for _ in s.chords])
    moves[-1] = False
    rows = moves[ticks // score.plan.bar]
    return ticks[rows], length[rows], pitch[rows]


def _perform(plan: Plan, sections: list[Section], score: _Score) -> Etude:
    """Notes with instruments and dynamics, and the truth about every bar."""
    lead_tick, lead_pitch = score.melody
    tick, length, pitch = _accompany(score, sections)
    scoring = SCORINGS[plan.scoring]
    lead = np.arange(len(lead_tick) + len(tick)) < len(lead_tick)
    ticks = np.concatenate([lead_tick, tick])
    end = score.bars * plan.bar
    lengths = np.concatenate([np.diff(lead_tick, append=end).astype(float), length])
    meter = Meter(0.0, *map(int, plan.meter.split("/")))
    notes = Notes(
        onset=ticks * meter.felt_beat / BEAT,
        duration=lengths * meter.felt_beat / BEAT,
        pitch=np.concatenate([lead_pitch + plan.lift, pitch]) + plan.shift,
        velocity=_velocities(plan, sections, ticks, lead),
        program=np.where(lead, scoring.lead, scoring.accompaniment),
        meters=(meter,),
        tempo=TempoMap(bpm=np.array([plan.bpm * meter.felt_beat])),
    )
    counts = np.bincount(np.unique(ticks) // plan.bar, minlength=score.bars)
    first = [harmony.chord(bar[0], plan.mode) for bar in score.chords]
    return Etude(
        notes=notes.sort(),
        tonic=plan.tonic,
        mode=plan.mode,
        bpm=plan.bpm,
        meter=meter,
        form=plan.form,
        scoring=plan.scoring,
        onsets=counts / plan.beats,
        degree=np.array([chord.degree for chord in first]),
        section=np.repeat(np.arange(len(sections)), plan.section_bars),
        texture=tuple(section.texture for section in sections for _ in section.chords),
        chords=tuple(" ".join(bar) for bar in score.chords),
    )


def _velocities(plan: Plan, sections: list[Section], ticks: Ints, lead: harmony.Flags) -> Ints:
    """Level of the section, swelling towards two thirds of each phrase, with metrical accents."""
    bar = ticks // plan.bar
    level = np.repeat([section.level for section in sections], plan.section_bars)
    phrases = np.array([bars for section in sections for bars in section.closes if bars])
    begins = np.repeat(np.cumsum(phrases) - phrases, phrases)
    through = (ticks / plan.bar - begins[bar]) / np.repeat(phrases, phrases)[bar]
    swell = 12.0 * (1 - np.abs(through - 2 / 3) / np.where(through < 2 / 3, 2 / 3, 1 / 3))
    accent = np.select([ticks % plan.bar == 0, ticks % BEAT == 0], [5.0, 2.0], 0.0)
    touch = np.random.default_rng([plan.seed, 7]).normal(0.0, 1.5, len(ticks))
    loud = level[bar] + swell + accent + touch - np.where(lead, 0.0, 10.0)
    return np.clip(np.rint(loud), 20, 115).astype(np.int64)


# ---------------------------------------------------------------- corpus


def write_corpus(folder: Path, count: int = 400, seed: int = 0) -> None:
    """Write `count` pieces as MIDI, then `truth.csv` and `manifest.csv`; equal bytes every time.

    Piece i is `compose(1_000_000 * seed + i)`. Each file appears under its name only when complete,
    and the manifest comes last: a folder that has one is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest, truth = [], []
    for index in range(count):
        name = f"etude_{index:04d}.mid"
        etude = compose(1_000_000 * seed + index)
        _write(folder / name, write_midi(etude.notes))
        manifest.append(_manifest_row(etude, name, index))
        truth.append(_truth_row(etude, name))
    _write(folder / "truth.csv", _table(TRUTH_COLUMNS, truth))
    _write(folder / "manifest.csv", _table(MANIFEST_COLUMNS, manifest))


def _manifest_row(etude: Etude, name: str, index: int) -> dict[str, object]:
    split = {8: "valid", 9: "test"}.get(index % 10, "train")
    return {
        "file": name,
        "tier": "a",
        "split": split,
        "group": f"etudes:{Path(name).stem}",
        "source": "etudes",
        "licence": "CC0-1.0",
        "title": etude.title,
        "composer": "SonicRx",
        "tempo_explicit": 1,
        "beat_aligned": 1,
        "vel_std": f"{etude.notes.velocity.std():.1f}",
    }


def _truth_row(etude: Etude, name: str) -> dict[str, object]:
    known = {column: _cell(getattr(etude, column)) for column in TRUTH_COLUMNS[2:]}
    return {"file": name, "bars": len(etude.chords), **known}


def _cell(value: object) -> str:
    """Values of bars are joined by blanks, the chords of a bar by '+'."""
    if not isinstance(value, tuple | np.ndarray):
        return str(value)
    return " ".join(f"{v:.4g}" if isinstance(v, float) else str(v).replace(" ", "+") for v in value)


def _table(columns: Sequence[str], rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
