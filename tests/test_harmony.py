"""Harmony: chords spelled by hand, phrases that close as asked, voices led by the rules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import harmony

SEEDS = st.integers(0, 2**32 - 1)
MODES = st.sampled_from(["major", "minor"])
few = settings(max_examples=12, deadline=None)


@pytest.mark.parametrize(
    ("symbol", "mode", "tones", "bass", "altered"),
    [  # spelled by hand in C
        ("I", "major", (0, 4, 7), 0, ()),
        ("I6", "minor", (0, 3, 7), 3, ()),
        ("II6", "minor", (2, 5, 8), 5, ()),
        ("V7", "minor", (7, 11, 2, 5), 7, ()),
        ("VII6", "minor", (11, 2, 5), 2, ()),
        ("bVII", "minor", (10, 2, 5), 10, ()),
        ("I64", "major", (0, 4, 7), 7, ()),
        ("V7/V", "major", (2, 6, 9, 0), 2, (6,)),
        ("V65/II", "major", (9, 1, 4, 7), 1, (1,)),
        ("V7/IV", "minor", (0, 4, 7, 10), 0, (4,)),
    ],
)
def test_chords_are_spelled(
    symbol: str, mode: str, tones: tuple[int, ...], bass: int, altered: tuple[int, ...]
) -> None:
    chord = harmony.chord(symbol, mode)
    assert (chord.tones, chord.bass, chord.altered) == (tones, bass, altered)


def test_unknown_chords_are_refused() -> None:
    with pytest.raises(ValueError, match="chord 'H7'; legal are"):
        harmony.chord("H7", "major")


@few
@given(SEEDS, MODES, st.sampled_from([4, 8]), st.sampled_from([1, 2]))
def test_phrases_close_as_asked_and_dominants_never_fall_back(
    seed: int, mode: str, bars: int, per_bar: int
) -> None:
    rng = np.random.default_rng(seed)
    half = harmony.phrase(rng, mode, ["I"], bars, per_bar, "half")
    full = harmony.phrase(rng, mode, ["I"], bars, per_bar, "authentic")
    assert len(half) == len(full) == bars
    assert half[-1] == ("V",)
    assert (full[-2][-1], full[-1]) == ("V7", ("I",))
    for before, after in itertools.pairwise([*itertools.chain(*half)]):
        if before in ("V", "V6", "V65", "V43", "V7", "VII6"):
            assert harmony.chord(after, mode).degree in (1, 5, 6)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("per_bar", [1, 2])
def test_every_opening_leads_to_a_cadence(mode: str, per_bar: int) -> None:
    rng = np.random.default_rng(0)
    symbols = {s for _ in range(200) for s in harmony.progression(rng, mode, "I", {"V7": 1}, 8)}
    assert len(symbols) >= 12
    for symbol, close in itertools.product(sorted(symbols), ("half", "authentic")):
        bars = harmony.phrase(rng, mode, ["I"] * (per_bar - 1) + [symbol], 8, per_bar, close)
        assert len(bars) == 8
        assert bars[0][-1] == symbol


def test_impossible_progressions_are_refused() -> None:
    with pytest.raises(ValueError, match="no path of 2 chords from IV to \\['VI'\\] in major"):
        harmony.progression(np.random.default_rng(0), "major", "IV", {"VI": 1}, 2)


@few
@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_cheapest_path_is_the_best_of_all(length: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes, edges = rng.random((length, width)), rng.random((length - 1, width, width))

    def cost(path: tuple[int, ...]) -> float:
        moves = itertools.pairwise(path)
        return sum(nodes[range(length), path]) + sum(
            e[m] for e, m in zip(edges, moves, strict=True)
        )

    best = min(itertools.product(range(width), repeat=length), key=cost)
    assert harmony.cheapest_path(list(nodes), edges) == list(best)


@few
@given(SEEDS, MODES)
def test_sevenths_fall_and_the_leading_tone_rises(seed: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    symbols = ["I", "IV", "V7", "I"]
    taste = 3 * rng.random((4, harmony.TASTES))
    voices = harmony.lead_voices(symbols, mode, rng.uniform(64, 78, 4), taste)
    assert (np.diff(voices, axis=1) > 0).all()
    for before, after in zip(voices[2], voices[3], strict=True):
        if before % 12 == 5:
            assert before - after in (1, 2)
    if voices[2, 3] % 12 == 11:
        assert voices[3, 3] == voices[2, 3] + 1
    assert voices[3, 3] % 12 == 0


def test_a_seventh_falls_even_when_the_soprano_is_wanted_higher() -> None:
    wanted = np.array([72.0, 74, 65, 67, 71, 72])
    symbols = ["I", "II6", "V7", "I", "V", "I"]
    voices = harmony.lead_voices(symbols, "major", wanted, np.zeros((6, harmony.TASTES)))
    sevenths = voices[2] % 12 == 5
    assert sevenths.sum() == 1
    assert (voices[3] - voices[2])[sevenths] == -1
