"""Temperley's key finder: textbook cadences, a posterior by hand, and the sum over every path."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml.keys import Key
from sonicrx_ml.notes import DRUMS, Notes
from sonicrx_ml.temperley import CHANCES, STAY, TRAINED, estimate_key, key_shares, sounding

MAJOR = ([60, 64, 67], [60, 65, 69], [59, 62, 67], [60, 64, 67])  # I IV V I in C
MINOR = ([57, 60, 64], [57, 62, 65], [56, 59, 64], [57, 60, 64])  # i iv V i in A minor


def chords(*groups, quarters: float = 4.0, shift: int = 0, program: int = 0) -> Notes:
    pitch = np.concatenate([np.array(group) for group in groups]) + shift
    onset = np.repeat(quarters * np.arange(len(groups)), [len(group) for group in groups])
    whole = np.ones(len(pitch), dtype=np.int64)
    return Notes(onset, np.full(len(pitch), quarters), pitch, 64 * whole, program * whole)


@pytest.mark.parametrize("shift", range(-6, 6))
@pytest.mark.parametrize(("groups", "key"), [(MAJOR, 0), (MINOR, 12 + 9)])
def test_what_takes_are_chosen_by_hears_them_too(groups, key, shift):
    shares = key_shares(sounding(chords(*groups, shift=shift)), TRAINED)
    assert shares.argmax() == (key + shift) % 12 + key // 12 * 12
    assert shares.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("shift", range(-6, 6))
def test_cadences_in_every_key(shift):
    major, minor = (estimate_key(chords(*groups, shift=shift)) for groups in (MAJOR, MINOR))
    assert (major.tonic, major.mode) == (shift % 12, "major")
    assert (minor.tonic, minor.mode) == ((9 + shift) % 12, "minor")
    assert major.confidence > 0.5


def test_what_has_no_pitch_tells_nothing():
    assert estimate_key(chords(*MAJOR, program=DRUMS)) == Key(0, "major", 0.0)


def test_a_segment_holds_what_sounds_in_it_up_to_a_tiny_overlap():
    notes = Notes(
        onset=np.array([0.0, 0.99, 1.5]),
        duration=np.array([1.01, 1.0, 1.6]),
        pitch=np.array([60, 64, 67]),
        velocity=np.full(3, 64),
        program=np.zeros(3, np.int64),
    )
    held = [set(np.flatnonzero(row)) for row in sounding(notes)]
    assert held == [{0}, {4, 7}, {7}, {7}]


def test_one_segment_by_hand():
    present = np.zeros((1, 12), dtype=bool)
    present[0, [0, 4, 7]] = True  # a C major triad
    degrees = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
    chance = np.prod([p if degree in (0, 4, 7) else 1 - p for degree, p in enumerate(degrees)])
    every = np.prod(np.where(present, CHANCES, 1 - CHANCES), axis=1)
    assert key_shares(present)[0] == pytest.approx(chance / every.sum())
    assert key_shares(present).argmax() == 0


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_posterior_is_the_sum_over_every_path(seed):
    present = np.random.default_rng(seed).random((3, 12)) < 0.3
    present[:, 0] = True
    each = np.array([np.prod(np.where(row, CHANCES, 1 - CHANCES), axis=1) for row in present])
    shares = np.zeros(24)
    for path in itertools.product(range(24), repeat=3):
        moves = [STAY if a == b else (1 - STAY) / 23 for a, b in itertools.pairwise(path)]
        weight = np.prod(moves) * np.prod([each[i, key] for i, key in enumerate(path)])
        np.add.at(shares, list(path), weight)
    assert key_shares(present) == pytest.approx(shares / shares.sum(), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-12, 12))
def test_a_transposed_piece_has_a_transposed_key(seed, shift):
    rng = np.random.default_rng(seed)
    count = 30
    notes = Notes(
        onset=rng.integers(0, 80, count) / 4,
        duration=rng.integers(1, 20, count) / 4,
        pitch=rng.integers(36, 90, count),
        velocity=np.full(count, 64),
        program=np.zeros(count, np.int64),
    )
    found = key_shares(sounding(notes)).reshape(2, 12)
    moved = key_shares(sounding(notes.transpose(shift))).reshape(2, 12)
    assert moved == pytest.approx(np.roll(found, shift, axis=1), abs=1e-9)
