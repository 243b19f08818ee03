"""Tonal harmony by rule: chords, progressions, four-part voice leading and melodic lines.

Conventions
-----------
* Everything is in C: pitch classes count from the tonic, and middle C (60) is a tonic. Callers
  transpose.
* A chord symbol is a Roman numeral in capitals whatever its quality, a figured-bass figure, and
  for an applied dominant its target: "I", "II6", "I64", "V7/V". "VII6" is the leading-tone triad;
  "bVII" is the subtonic triad of the natural minor.
* In minor the seventh degree is raised in chords I, V and VII and natural elsewhere.
* Voices and melodies are cheapest paths through a lattice of candidates; a forbidden move costs
  `FORBIDDEN`, so that it is taken only when nothing else exists. The rules are the common-practice
  ones of Aldwell & Schachter, "Harmony and Voice Leading"; the weights are our own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.notes import Floats, Ints

Flags = NDArray[np.bool_]

FORBIDDEN = 1e4
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII")
TASTES = 128  # columns of random taste a slot needs: at least the voicings of any chord

_SYMBOL = re.compile(r"(b?)([IV]+)(\d*)(?:/([IV]+))?")
_FIGURES = {"": (3, 0), "6": (3, 1), "64": (3, 2), "7": (4, 0), "65": (4, 1), "43": (4, 2)}
_VOICE_RANGES = ((41, 58), (48, 67), (55, 76), (60, 81))  # bass, tenor, alto, soprano

# What may follow each chord, and how often: tonic, predominant, dominant, tonic.
_FOLLOW: dict[str, dict[str, float]] = {
    "I": {"I6": 2, "IV": 4, "II6": 3, "VI": 3, "V": 2, "V6": 2, "V43": 1, "V7/IV": 0.3},
    "I6": {"IV": 3, "II6": 3, "VII6": 1, "V43": 1, "V": 1},
    "II6": {"V": 3, "V7": 3, "V65": 1},
    "IV": {"V": 3, "V7": 3, "II6": 2, "I6": 1, "V65": 1, "V7/V": 0.3},
    "V": {"I": 4, "VI": 2, "V7": 1},
    "V6": {"I": 1},
    "V65": {"I": 1},
    "V43": {"I": 1, "I6": 1},
    "V7": {"I": 4, "VI": 1},
    "VI": {"IV": 3, "II6": 3, "V": 1, "V7/V": 0.3},
    "VII6": {"I": 1, "I6": 1},
    "V7/V": {"V": 1, "V7": 1},
    "V7/IV": {"IV": 1},
}
_FOLLOW_BY_MODE: dict[str, dict[str, dict[str, float]]] = {
    "major": {
        "I": {"III": 0.5, "V7/VI": 0.3, "V65/II": 0.2},
        "III": {"VI": 2, "IV": 2},
        "VI": {"II": 2, "III": 0.5},
        "II": {"V": 2, "V7": 2, "II6": 0.5},
        "V7/VI": {"VI": 1},
        "V65/II": {"II": 1},
    },
    "minor": {
        "I": {"bVII": 1, "V7/III": 0.3},
        "III": {"VI": 2, "IV": 2, "II6": 1},
        "VI": {"III": 1},
        "bVII": {"III": 2, "VI": 1},
        "V7/III": {"III": 1},
    },
}
_BEFORE_SIX_FOUR = {"IV": 1, "II6": 1, "VI": 0.3, "I": 0.05}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord in C: root degree (1-7), tones from the root up, bass, the scale in force over it.

    `leading` and `seventh` are the tones that must resolve, or -1; tones outside the key are in
    `altered`.
    """

    degree: int
    tones: tuple[int, ...]
    bass: int
    scale: tuple[int, ...]
    leading: int
    seventh: int
    altered: tuple[int, ...]


@cache
def chord(symbol: str, mode: str) -> Chord:
    """The chord a symbol names in "major" or "minor". Raises `ValueError` for an unknown symbol."""
    match = _SYMBOL.fullmatch(symbol)
    if match is None or match[2] not in NUMERALS or match[3] not in _FIGURES:
        raise ValueError(f"chord {symbol!r}; legal are like 'I', 'II6', 'I64', 'V7', 'V7/V'")
    size, inversion = _FIGURES[match[3]]
    if match[4]:
        target = NUMERALS.index(match[4])
        root, scale = (target + 4) % 7, list(SCALES[mode])
        for third, interval in enumerate((7, 11, 2, 5)):
            scale[(root + 2 * third) % 7] = (SCALES[mode][target] + interval) % 12
    else:
        root, scale = NUMERALS.index(match[2]), list(SCALES[mode])
        if root in (0, 4, 6) and not match[1]:
            scale[6] = 11
    tones = tuple(scale[(root + 2 * third) % 7] for third in range(size))
    dominant = bool(match[4]) or root == 4 or (root == 6 and not match[1])
    return Chord(
        degree=root + 1,
        tones=tones,
        bass=tones[inversion],
        scale=tuple(scale),
        leading=-1 if not dominant else tones[0 if root == 6 and not match[4] else 1],
        seventh=tones[3] if size == 4 else -1,
        altered=tuple(tone for tone in tones if tone not in (*SCALES[mode], 11)),
    )


# ---------------------------------------------------------------- progressions


@cache
def _grammar(mode: str) -> tuple[tuple[str, ...], Floats]:
    """Chord symbols of a mode and the (from, to) matrix of probabilities."""
    extra = _FOLLOW_BY_MODE[mode]
    names = tuple(dict.fromkeys([*_FOLLOW, *extra]))
    weight = np.zeros((len(names), len(names)))
    for rules in (_FOLLOW, extra):
        for name, following in rules.items():
            for after, value in following.items():
                weight[names.index(name), names.index(after)] = value
    return names, weight / weight.sum(axis=1, keepdims=True)


def progression(
    rng: np.random.Generator, mode: str, start: str, ends: Mapping[str, float], length: int
) -> list[str]:
    """A random path of the grammar, `length` chords from `start` to one of `ends` (with weights).

    Raises `ValueError` where the grammar has no such path.
    """
    names, follow = _grammar(mode)
    reach = [np.array([ends.get(name, 0.0) for name in names])]
    for _ in range(length - 1):
        reach.append(follow @ reach[-1])
    path = [names.index(start)]
    for left in range(length - 2, -1, -1):
        weight = follow[path[-1]] * reach[left]
        if weight.sum() == 0:
            raise ValueError(f"no path of {length} chords from {start} to {list(ends)} in {mode}")
        path.append(int(rng.choice(len(names), p=weight / weight.sum())))
    return [names[index] for index in path]


def phrase(
    rng: np.random.Generator, mode: str, opening: Sequence[str], bars: int, per_bar: int, close: str
) -> list[tuple[str, ...]]:
    """Chords of each bar of a phrase; the last bar holds one chord.

    opening : the first chords, kept as they are; per_bar : chords in a bar, 1 or 2;
    close : "half" ends on V, "authentic" on V7 I, sometimes through the cadential I64.
    """
    count = (bars - 1) * per_bar
    free = count - len(opening) + 1  # chords to find, counted from the last given one
    six_four = close == "authentic" and rng.random() < 0.4
    if close == "half":
        path = progression(rng, mode, opening[-1], {"V": 1}, free + 1)
    elif six_four and per_bar == 2:
        path = progression(rng, mode, opening[-1], _BEFORE_SIX_FOUR, free - 2)
        path = [*path, "I64", "V7", "I"]
    else:
        path = [*progression(rng, mode, opening[-1], {"V7": 1}, free), "I"]
    path = [*opening[:-1], *path]
    grouped = [tuple(path[i : i + per_bar]) for i in range(0, len(path), per_bar)]
    if six_four and per_bar == 1:
        grouped[-2] = ("I64", "V7")
    return grouped


# ---------------------------------------------------------------- voices


def cheapest_path(nodes: Sequence[Floats], edges: Sequence[Floats] | Floats) -> list[int]:
    """Viterbi: the index at each step that makes node plus edge costs least.

    nodes : cost of each candidate, one array a step; edges[t] : (candidates at t, at t + 1).
    """
    total, back = nodes[0], []
    for node, edge in zip(nodes[1:], edges, strict=True):
        through = total[:, None] + edge
        back.append(through.argmin(axis=0))
        total = through[back[-1], np.arange(len(node))] + node
    path = [int(total.argmin())]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return path[::-1]


@cache
def voicings(symbol: str, mode: str) -> Ints:
    """(n, 4): every bass, tenor, alto, soprano that spells the chord well in four voices."""
    this = chord(symbol, mode)
    columns = [
        [p for p in range(low, high + 1) if p % 12 in ((this.bass,) if i == 0 else this.tones)]
        for i, (low, high) in enumerate(_VOICE_RANGES)
    ]
    found = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, 4)
    gap = np.diff(found, axis=1)
    good = (gap > 0).all(axis=1) & (gap[:, 0] <= 19) & (gap[:, 1:] <= 12).all(axis=1)
    count = np.stack([(found % 12 == tone).sum(axis=1) for tone in this.tones], axis=1)
    for i, tone in enumerate(this.tones):
        if tone in (this.leading, this.seventh, *this.altered):
            good &= count[:, i] == 1
        elif i != 2 or this.seventh < 0:  # a seventh chord may leave out its fifth
            good &= count[:, i] >= 1
    return found[good]


@cache
def _moves(before: str, after: str, mode: str) -> Floats:
    """(voicings of `before`, of `after`): cost of each move of four voices."""
    old, new = voicings(before, mode)[:, None], voicings(after, mode)[None]
    this, following = chord(before, mode), chord(after, mode)
    step = new - old
    size = np.abs(step)
    cost = size @ np.array([0.3, 0.8, 0.8, 0.3])
    cost += 2.0 * np.maximum(size[..., 3] - 4, 0) + 4.0 * (size[..., 3] == 0)
    for low in range(4):
        for high in range(low + 1, 4):
            outer = low == 0 and high == 3
            bad = _parallel(old[..., low], new[..., low], old[..., high], new[..., high])
            cost += bad * (FORBIDDEN if outer else 100.0)
    overlap = (new[..., :-1] > old[..., 1:]) | (new[..., 1:] < old[..., :-1])
    cost += 10.0 * overlap.sum(axis=-1)
    if this.leading >= 0 and (this.leading + 1) % 12 in following.tones:
        stuck = (old % 12 == this.leading) & (step != 1)
        cost += stuck @ np.array([100.0, 15.0, 15.0, FORBIDDEN])
    if this.seventh >= 0 and this.seventh not in following.tones:
        cost += 60.0 * ((old % 12 == this.seventh) & (step != -1) & (step != -2)).sum(axis=-1)
    return cost


def _parallel(low: Ints, low_next: Ints, high: Ints, high_next: Ints) -> Flags:
    """Whether two voices both move from a perfect fifth or octave to the same interval."""
    interval = (high - low) % 12
    same = (interval == (high_next - low_next) % 12) & ((interval == 0) | (interval == 7))
    return same & (low != low_next) & (high != high_next)


def lead_voices(symbols: Sequence[str], mode: str, soprano: Floats, taste: Floats) -> Ints:
    """(n, 4): bass, tenor, alto and soprano of each chord, led smoothly.

    soprano : (n,) pitch the top voice should be near; taste : (n, `TASTES`) random costs that
    tell equal solutions apart. The last soprano is a tonic.
    """
    choices = [voicings(symbol, mode) for symbol in symbols]
    nodes = [
        taste[i, : len(found)]
        + 1.2 * np.abs(found[:, 3] - soprano[i])
        + 0.4 * np.abs(found[:, 0] - 49)
        for i, found in enumerate(choices)
    ]
    nodes[-1] = nodes[-1] + FORBIDDEN * (choices[-1][:, 3] % 12 != 0)
    edges = [_moves(a, b, mode) for a, b in itertools.pairwise(symbols)]
    path = cheapest_path(nodes, edges)
    return np.array([found[index] for found, index in zip(choices, path, strict=True)])


# ---------------------------------------------------------------- lines

_RUNGS = np.arange(29)  # scale steps from C2 (36) to C6 (84)
STEPS = len(_RUNGS)  # columns of random taste a line needs


def melodic_line(
    symbols: Sequence[str],
    mode: str,
    pins: Ints,
    strong: Flags,
    floor: Ints,
    against: Ints,
    contour: Ints,
    taste: Floats,
) -> Ints:
    """(n,) pitches of a line of chord, passing and neighbour tones, one for each onset.

    symbols : chord under each onset; pins : pitch the onset must have, or -1; strong : onsets that
    need a chord tone; floor : pitch to stay above; against : pitch that sounds in the other outer
    voice, with which parallel fifths and octaves are forbidden; contour : scale steps wished to the
    next onset; taste : (n, `STEPS`) random costs. A tone foreign to the chord is entered and left
    by step.
    """
    ladders = [_ladder(symbol, mode) for symbol in symbols]
    pitch = np.array([rungs for rungs, _ in ladders])
    foreign = np.array([foreign for _, foreign in ladders])
    pinned = pins[:, None] >= 0
    nodes = taste + FORBIDDEN * (pinned & (pitch != pins[:, None]))
    nodes += np.where(strong[:, None], FORBIDDEN, 0.5) * foreign
    nodes += FORBIDDEN / 4 * (~pinned & ((pitch <= floor[:, None]) | (pitch > 83)))
    rising = np.array([_rising(*pair, mode) for pair in itertools.pairwise(symbols)])
    rises = pitch[:-1] % 12 == rising[:, None]
    path = cheapest_path(nodes, _steps(pitch, foreign, rises, against, contour))
    return pitch[np.arange(len(pitch)), path]


@cache
def _rising(before: str, after: str, mode: str) -> int:
    """The leading tone that a line must resolve between two chords, or -1."""
    this = chord(before, mode)
    resolves = before != after and (this.leading + 1) % 12 in chord(after, mode).tones
    return this.leading if resolves else -1


@cache
def _ladder(symbol: str, mode: str) -> tuple[Ints, Flags]:
    """The pitches of the scale over a chord, one a rung, and which of them are foreign to it."""
    this = chord(symbol, mode)
    tone = np.array(this.scale)[_RUNGS % 7]
    return 36 + 12 * (_RUNGS // 7) + tone, ~np.isin(tone, this.tones)


def _steps(pitch: Ints, foreign: Flags, rises: Flags, against: Ints, contour: Ints) -> Floats:
    """(n - 1, rungs, rungs): cost of each step of a line."""
    step = _RUNGS[None, :] - _RUNGS[:, None]
    size = np.abs(step)
    leap = np.select([size == 0, size <= 1, size <= 4], [3.5, 0.0, size - 0.5], 2.0 * size - 4)
    wish = 0.8 * np.minimum(np.abs(step - contour[:-1, None, None]), 4)
    old, new = pitch[:-1, :, None], pitch[1:, None, :]
    semitones = np.abs(new - old)
    cost = leap + wish + 4.0 * ((semitones == 6) | (semitones > 9))
    unprepared = foreign[:-1, :, None] | foreign[1:, None, :]
    cost += FORBIDDEN / 2 * (unprepared & (size != 1))
    cost += FORBIDDEN / 2 * ((size == 1) & (semitones > 2))  # the augmented second
    cost += 50.0 * (rises[:, :, None] & (new - old != 1))
    bass, bass_next = against[:-1, None, None], against[1:, None, None]
    return cost + FORBIDDEN / 2 * _parallel(bass, bass_next, old, new)
