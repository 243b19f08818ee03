"""The form of an etude: its plan, and what each section is made of.

A plan is drawn (key, meter, tempo, form, scoring), its sections are given harmony and a motif, and
each occurrence of a section is dressed in a texture. `etudes` writes the notes. Conventions are as
there: time in whole ticks, `BEAT` to the felt beat, the tonic C.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sonicrx_ml import harmony

BEAT = 12  # ticks in a felt beat
FASTEST = 8.0  # accompaniment onsets a second: quicker figures are not chosen


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


# ---------------------------------------------------------------- plan


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided of a piece before its sections.

    per_bar : chords in a bar, one or two; shift : semitones from C; lift : of the melody, besides.
    """

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


def draw_plan(seed: int, fixed: Mapping[str, int | str]) -> Plan:
    """The plan of piece `seed`. Raises `ValueError` where `fixed` is not legal (`LEGAL`)."""
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
    return Plan(
        seed=seed,
        **drawn,  # type: ignore[arg-type]
        section_bars=int(lengths[rng.integers(len(lengths))]),
        per_bar=1 + int(rng.random() < 0.35),
        shift=lowest + (int(drawn["tonic"]) - lowest) % 12,
        lift=int(rng.choice(scoring.octaves)),
    )


# ---------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True)
class Section:
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


def lay_out(plan: Plan) -> list[Section]:
    """Every occurrence of a section, in order."""
    labels = FORMS[plan.form][0]
    harmonies = {label: _harmony(plan, "ABC".index(label)) for label in sorted(set(labels))}
    return [
        _dress(plan, "ABC".index(label), occurrence, *harmonies[label])
        for occurrence, label in enumerate(labels)
    ]


def _harmony(plan: Plan, material: int) -> tuple[tuple[tuple[str, ...], ...], tuple[int, ...]]:
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
    plan: Plan,
    material: int,
    occurrence: int,
    chords: tuple[tuple[str, ...], ...],
    closes: tuple[int, ...],
) -> Section:
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
    return Section(
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


def _step(rng: np.random.Generator, plan: Plan, texture: Texture) -> int:
    """Ticks of an accompaniment step, no quicker than `FASTEST`."""
    steps = texture.compound if plan.compound else texture.simple
    slow = [s for s in steps if s == 0 or s * FASTEST >= BEAT * plan.bpm / 60]
    return int(rng.choice(slow or [max(steps)]))


_SIMPLE_CELLS = ((), (0,), (0, 6), (0, 9), (0, 6, 9), (0, 3, 6), (0, 3, 6, 9))
_COMPOUND_CELLS = ((), (0,), (0, 8), (0, 4, 8), (0, 4, 6, 8))


def _rhythms(
    rng: np.random.Generator, plan: Plan, activity: float, closes: tuple[int, ...]
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
