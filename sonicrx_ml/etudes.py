"""Etudes: short pieces composed from rules, whose every attribute is known by construction.

They let training run where there is no data, and give attribute estimators a ground truth. A piece
is planned (key, meter, tempo, form, scoring), its sections are given harmony and a motif, each
occurrence of a section is dressed in a texture, and `harmony` finds the voices and the melody.

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
from sonicrx_ml.keys import Key
from sonicrx_ml.notes import Floats, Ints, Meter, Notes, TempoMap, write_midi

BEAT = 12  # ticks in a felt beat
FASTEST = 8.0  # accompaniment onsets a second: quicker figures are not chosen
MANIFEST_COLUMNS = (
    "file", "tier", "split", "group", "source", "licence", "title", "composer", "tempo_explicit",
    "beat_aligned", "vel_std",
)  # fmt: skip
TRUTH_COLUMNS = (
    "file", "bars", "tonic", "mode", "bpm", "meter", "form", "scoring", "onsets", "degree",
    "section", "texture", "chords",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Texture:
    """How an accompaniment is figured from bass (0), tenor (1) and alto (2).

    cycle : voices struck at each step, in turn; simple, compound : lengths of a step in ticks to
    choose from in those meters, 0 for the whole chord; activity : least and most melody onsets
    a beat; lengths : shares of a step that notes may sound.
    """

    cycle: tuple[tuple[int, ...], ...]
    simple: tuple[int, ...]
    compound: tuple[int, ...]
    activity: tuple[float, float]
    lengths: tuple[float, ...] = (1.0,)


_HOLD = (0,)
TEXTURES = {
    "block": Texture(((0, 1, 2),), (0, 12, 24), (0, 12), (0.5, 2.0), (1.0, 0.75)),
    "alberti": Texture(((0,), (2,), (1,), (2,)), (6, 3), (4,), (0.5, 1.5)),
    "broken": Texture(((0,), (1,), (2,), (1,)), (12, 6, 3), (12, 4), (0.3, 1.5), (1.0, 2.0)),
    "hymn": Texture(((0, 1, 2),), _HOLD, _HOLD, (0.5, 1.2)),
    "waltz": Texture(((0,), (1, 2), (1, 2)), (12,), (4,), (0.5, 2.0), (1.0, 0.5)),
    "oompah": Texture(((0,), (1, 2)), (12, 6), (12,), (0.5, 2.0), (1.0, 0.5)),
    "pad": Texture(((0, 1, 2),), _HOLD, _HOLD, (0.5, 3.0)),
    "counterpoint": Texture(((0,),), _HOLD, _HOLD, (1.0, 2.5)),
    "sparse": Texture(((0, 2),), _HOLD, _HOLD, (0.0, 0.4)),
}


@dataclass(frozen=True, slots=True)
class Scoring:
    """General MIDI programs of melody and accompaniment, and where they may lie.

    lowest : range of the transposition (semitones from C) that the octave of keys starts at;
    octaves : semitones the melody may be lifted by.
    """

    lead: int
    accompaniment: int
    lowest: tuple[int, int]
    octaves: tuple[int, ...] = (0,)


SCORINGS = {
    "piano": Scoring(0, 0, (-12, 0), (0, 12)),
    "piano and strings": Scoring(0, 48, (-9, -3), (0, 12)),
    "flute and harp": Scoring(73, 46, (-7, -7), (12,)),
    "guitar": Scoring(24, 24, (-1, -1)),
    "strings": Scoring(48, 48, (-12, -3), (0, 12)),
    "choir and organ": Scoring(52, 19, (-9, -5)),
}
_UNSUITED = {"4/4": "waltz", "2/4": "waltz", "3/4": "oompah", "6/8": "oompah"}  # not drawn
METERS = {"4/4": 4, "3/4": 3, "2/4": 2, "6/8": 2}  # felt beats in a bar
FORMS = {  # labels of the sections, and bars in each
    "AABA": ("AABA", (4, 8)),
    "ABA": ("ABA", (8, 16)),
    "ABACA": ("ABACA", (4, 8)),
    "variations 2": ("AA", (8, 16)),
    "variations 3": ("AAA", (8, 16)),
    "variations 5": ("AAAAA", (8,)),
}
LEGAL: dict[str, Sequence[object]] = {
    "tonic": range(12),
    "mode": ("major", "minor"),
    "bpm": range(48, 141),
    "meter": tuple(METERS),
    "form": tuple(FORMS),
    "scoring": tuple(SCORINGS),
    "texture": tuple(TEXTURES),
}


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
    """Compose a piece; `fixed` sets fields of `LEGAL` that are otherwise drawn.

    `texture` applies to every section. Raises `ValueError` for an illegal field or value.
    """
    plan = _draw_plan(seed, fixed)
    sections = _lay_out(plan)
    return _perform(plan, sections, _Score(plan, sections))


# ---------------------------------------------------------------- plan


@dataclass(frozen=True, slots=True)
class _Plan:
    seed: int
    tonic: int
    mode: str
    bpm: int
    meter: str
    form: str
    scoring: str
    texture: str  # "" lets every section have its own
    section_bars: int
    per_bar: int
    shift: int
    lift: int

    @property
    def beats(self) -> int:
        return METERS[self.meter]

    @property
    def bar(self) -> int:
        """Ticks in a bar."""
        return BEAT * self.beats

    @property
    def compound(self) -> bool:
        return self.meter == "6/8"


def _draw_plan(seed: int, fixed: dict[str, int | str]) -> _Plan:
    for name, value in fixed.items():
        if name not in LEGAL:
            raise ValueError(f"field {name!r}; legal are {', '.join(LEGAL)}")
        if value not in LEGAL[name]:
            raise ValueError(f"{name}={value!r}; legal are {LEGAL[name]}")
    rng = np.random.default_rng([seed, 0])
    drawn: dict[str, int | str] = {
        "tonic": int(rng.integers(12)),
        "mode": "major" if rng.random() < 0.55 else "minor",
        "bpm": round(float(np.exp(rng.uniform(np.log(48), np.log(140))))),
        "meter": str(rng.choice(list(METERS), p=[0.4, 0.3, 0.12, 0.18])),
        "form": str(rng.choice(list(FORMS))),
        "scoring": str(rng.choice(list(SCORINGS), p=[0.4, 0.14, 0.14, 0.1, 0.12, 0.1])),
        "texture": "",
    }
    drawn |= fixed
    lengths = FORMS[str(drawn["form"])][1]
    scoring = SCORINGS[str(drawn["scoring"])]
    lowest = int(rng.integers(scoring.lowest[0], scoring.lowest[1] + 1))
    return _Plan(
        seed=seed,
        **drawn,  # type: ignore[arg-type]
        section_bars=int(lengths[rng.integers(len(lengths))]),
        per_bar=1 + int(rng.random() < 0.35),
        shift=lowest + (int(drawn["tonic"]) - lowest) % 12,
        lift=int(rng.choice(scoring.octaves)),
    )


# ---------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True)
class _Section:
    """An occurrence of a section. Tuples have one entry a bar.

    material : index of the label, which the harmony, its voices and its melody depend on;
    dress : seed of what may differ when the label returns; closes : length of the phrase that ends
    with the bar, 0 within a phrase.
    """

    material: int
    dress: tuple[int, ...]
    chords: tuple[tuple[str, ...], ...]
    closes: tuple[int, ...]
    texture: str
    step: int
    length: float
    level: float
    melody: tuple[tuple[int, ...], ...]
    bass: tuple[tuple[int, ...], ...]


def _lay_out(plan: _Plan) -> list[_Section]:
    labels = FORMS[plan.form][0]
    harmonies = {label: _harmony(plan, "ABC".index(label)) for label in sorted(set(labels))}
    return [
        _dress(plan, "ABC".index(label), occurrence, *harmonies[label])
        for occurrence, label in enumerate(labels)
    ]


def _harmony(plan: _Plan, material: int) -> tuple[tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """Chords of each bar of a section and where its phrases close.

    Section A ends with an authentic cadence, the others with a half cadence that leads back to A;
    a long A is a period, whose second phrase opens like its first.
    """
    rng = np.random.default_rng([plan.seed, 1, material])
    start = "I" if material == 0 else str(rng.choice(["IV", "VI", "I6"]))
    if plan.section_bars == 4:
        close = "half" if material else "authentic"
        return tuple(harmony.phrase(rng, plan.mode, [start], 4, plan.per_bar, close)), (0, 0, 0, 4)
    half = plan.section_bars // 2
    first = harmony.phrase(rng, plan.mode, [start], half, plan.per_bar, "half")
    opening = [start] if material else [*itertools.chain(*first[: half // 4])]
    close = "half" if material else "authentic"
    second = harmony.phrase(rng, plan.mode, opening, half, plan.per_bar, close)
    return (*first, *second), (*[0] * (half - 1), half) * 2


def _dress(
    plan: _Plan,
    material: int,
    occurrence: int,
    chords: tuple[tuple[str, ...], ...],
    closes: tuple[int, ...],
) -> _Section:
    """Texture, dynamic level and rhythm; a label that returns keeps its own, or is varied."""
    chance = np.random.default_rng([plan.seed, 2, occurrence]).random()
    varied = plan.form.startswith("variations") or chance < 0.35
    dress = (plan.seed, 3, material, occurrence if varied else 0)
    rng = np.random.default_rng(dress)
    suited = [name for name in TEXTURES if name != _UNSUITED[plan.meter]]
    name = plan.texture or str(rng.choice(suited))
    texture = TEXTURES[name]
    motif = np.random.default_rng([plan.seed, 4, material]) if not varied else rng
    activity = motif.uniform(*texture.activity)
    moving = name == "counterpoint"
    return _Section(
        material=material,
        dress=dress,
        chords=chords,
        closes=closes,
        texture=name,
        step=_step(rng, plan, texture),
        length=float(rng.choice(texture.lengths)),
        level=float(rng.uniform(46, 84)),
        melody=_rhythms(motif, plan, activity, closes),
        bass=_rhythms(rng, plan, rng.uniform(0.6, 1.6), closes) if moving else ((),) * len(chords),
    )


def _step(rng: np.random.Generator, plan: _Plan, texture: Texture) -> int:
    """Ticks of an accompaniment step, no quicker than `FASTEST`."""
    steps = texture.compound if plan.compound else texture.simple
    slow = [s for s in steps if s == 0 or s * FASTEST >= BEAT * plan.bpm / 60]
    return int(rng.choice(slow or [max(steps)]))


_SIMPLE_CELLS = ((), (0,), (0, 6), (0, 9), (0, 6, 9), (0, 3, 6), (0, 3, 6, 9))
_COMPOUND_CELLS = ((), (0,), (0, 8), (0, 4, 8), (0, 4, 6, 8))


def _rhythms(
    rng: np.random.Generator, plan: _Plan, activity: float, closes: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Onset ticks in each bar: three motif bars in the order a b a c; phrases close on one note.

    A divided beat leads to an onset on the next one.
    """
    cells = _COMPOUND_CELLS if plan.compound else _SIMPLE_CELLS
    weight = np.exp(-4.0 * np.abs(np.array([len(cell) for cell in cells]) - activity))
    motifs = []
    for _ in range(3):
        drawn = rng.choice(len(cells), size=plan.beats, p=weight / weight.sum())
        ticks = {beat * BEAT + tick for beat, cell in enumerate(drawn) for tick in cells[cell]}
        after = {BEAT * (tick // BEAT + 1) for tick in ticks if tick % BEAT}
        motifs.append(tuple(sorted((ticks | after | {0}) - {plan.bar})))
    order = np.resize([0, 1, 0, 2], len(closes))
    return tuple((0,) if c else motifs[i] for c, i in zip(closes, order, strict=True))


# ---------------------------------------------------------------- score


class _Score:
    """Chords, voices, melody and moving bass of a whole piece, in ticks and in C.

    start, span : tick and length of each chord; voices : (n, 4) from `harmony.lead_voices`;
    melody, bass : (tick, pitch) arrays; the bass moves within a chord only in counterpoint.
    """

    def __init__(self, plan: _Plan, sections: list[_Section]) -> None:
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

    def _lead_voices(self, sections: list[_Section]) -> Ints:
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

    def _line(self, ticks: Ints, voice: int, sections: list[_Section], against: Ints) -> Ints:
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


def _accompany(score: _Score, sections: list[_Section]) -> tuple[Ints, Floats, Ints]:
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


def _moving_bass(score: _Score, sections: list[_Section]) -> tuple[Ints, Floats, Ints]:
    """The bass of the sections in counterpoint, but for the last bar."""
    ticks, pitch = score.bass
    length = np.diff(ticks, append=score.bars * score.plan.bar).astype(float)
    moves = np.array([s.texture == "counterpoint" for s in sections for _ in s.chords])
    moves[-1] = False
    rows = moves[ticks // score.plan.bar]
    return ticks[rows], length[rows], pitch[rows]


def _perform(plan: _Plan, sections: list[_Section], score: _Score) -> Etude:
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


def _velocities(plan: _Plan, sections: list[_Section], ticks: Ints, lead: harmony.Flags) -> Ints:
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
