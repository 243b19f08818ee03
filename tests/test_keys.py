"""Keys: names, shifts, textbook passages, and agreement of the fast sums with slow ones."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml.keys import (
    ALBRECHT_SHANAHAN,
    PROFILES,
    Key,
    bar_histograms,
    correlate,
    estimate_key,
    local_modes,
    moving_sum,
)
from sonicrx_ml.notes import DRUMS, Meter, Notes

MAJOR_CADENCE = ([60, 64, 67], [60, 65, 69], [59, 62, 67], [60, 64, 67])  # I IV V I in C
MINOR_CADENCE = ([57, 60, 64], [57, 62, 65], [56, 59, 64], [57, 60, 64])  # i iv V i in A minor
C_MINOR_CADENCE = ([60, 63, 67], [60, 65, 68], [59, 62, 67], [60, 63, 67])


def chords(*groups, quarters: float = 4.0, program: int = 0) -> Notes:
    """One chord after another, each `quarters` long."""
    pitch = np.concatenate([np.array(group) for group in groups])
    onset = np.repeat(quarters * np.arange(len(groups)), [len(group) for group in groups])
    whole = np.ones(len(pitch), dtype=np.int64)
    return Notes(onset, np.full(len(pitch), quarters), pitch, 64 * whole, program * whole)


def random_notes(seed: int, count: int = 40) -> Notes:
    rng = np.random.default_rng(seed)
    return Notes(
        onset=rng.integers(0, 80, count) / 4,
        duration=rng.integers(1, 40, count) / 4,
        pitch=rng.integers(36, 96, count),
        velocity=np.full(count, 64),
        program=rng.choice([0, 40, DRUMS], count),
        meters=(Meter(0.0, 4, 4), Meter(8.0, 3, 4)),
    )


@pytest.mark.parametrize(
    ("key", "name", "shift"),
    [
        (Key(0, "major"), "C major", 0),
        (Key(2, "major"), "D major", -2),
        (Key(10, "major"), "Bb major", 2),
        (Key(6, "major"), "F# major", -6),
        (Key(7, "major"), "G major", 5),
        (Key(9, "minor"), "A minor", 0),
        (Key(0, "minor"), "C minor", -3),
        (Key(3, "minor"), "Eb minor", -6),
        (Key(4, "minor"), "E minor", 5),
        (Key(8, "minor"), "G# minor", 1),
    ],
)
def test_name_and_shift(key, name, shift):
    assert str(key) == name
    assert key.to_canonical == shift


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_relative_keys_shift_alike(mode):
    for tonic in range(12):
        shift = Key(tonic, mode).to_canonical
        assert -6 <= shift <= 5
        assert (tonic + shift) % 12 == {"major": 0, "minor": 9}[mode]
        assert shift == Key((tonic + 9) % 12, "minor").to_canonical or mode == "minor"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((12, "major"), "tonic 12; legal"),
        ((0, "dorian"), "'dorian'; legal are 'major', 'minor'"),
        ((0, "minor", 1.5), "confidence 1.5; legal"),
    ],
)
def test_illegal_keys_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Key(*arguments)


def test_correlation_is_pearsons():
    histogram = np.array([5.0, 0, 2, 1, 4, 1, 0, 3, 0, 2, 0, 1])
    found = correlate(histogram)
    assert found[7] == pytest.approx(np.corrcoef(histogram, np.roll(ALBRECHT_SHANAHAN[0], 7))[0, 1])
    assert found[14] == pytest.approx(
        np.corrcoef(histogram, np.roll(ALBRECHT_SHANAHAN[1], 2))[0, 1]
    )
    assert np.diag(correlate(PROFILES)) == pytest.approx(1.0)
    assert not correlate(np.full(12, 3.0)).any()


@pytest.mark.parametrize(
    ("cadence", "tonic", "mode"),
    [(MAJOR_CADENCE, 0, "major"), (MINOR_CADENCE, 9, "minor"), (C_MINOR_CADENCE, 0, "minor")],
)
@pytest.mark.parametrize("shift", range(12))
def test_cadence_in_every_key(cadence, tonic, mode, shift):
    key = estimate_key(chords(*cadence * 4).transpose(shift))
    assert (key.tonic, key.mode) == ((tonic + shift) % 12, mode)
    assert 0.9 < key.confidence <= 1


@given(st.integers(0, 10_000), st.integers(-12, 12))
@settings(max_examples=30, deadline=None)
def test_key_moves_with_the_piece(seed, shift):
    notes = random_notes(seed)
    key, moved = estimate_key(notes), estimate_key(notes.transpose(shift))
    assert moved.mode == key.mode
    assert moved.tonic == (key.tonic + shift) % 12
    assert moved.confidence == pytest.approx(key.confidence)


def test_key_of_most_of_the_piece_beats_a_modulation():
    away = [[pitch + 2 for pitch in chord] for chord in MAJOR_CADENCE]
    key = estimate_key(chords(*MAJOR_CADENCE * 5, *away * 2, *MAJOR_CADENCE))
    assert str(key) == "C major"


def test_opening_and_ending_count():
    """The same chords, rotated: surer of C major where the piece opens and ends on C."""
    loop = [[57, 60, 64], [53, 57, 60], [60, 64, 67], [55, 59, 62]]  # A minor, F, C, G
    from_c = loop[2:] + loop[:2]
    keys = [estimate_key(chords(*chosen * 4, chosen[0])) for chosen in (loop, from_c)]
    assert [str(key) for key in keys] == ["C major"] * 2
    assert keys[1].confidence > keys[0].confidence + 0.05


def test_drums_have_no_say():
    notes = chords(*MINOR_CADENCE * 2)
    drums = chords(*[[42, 47]] * 8, program=DRUMS)
    onset, duration, pitch, velocity, program = (
        np.concatenate([getattr(notes, c), getattr(drums, c)])
        for c in ("onset", "duration", "pitch", "velocity", "program")
    )
    assert estimate_key(Notes(onset, duration, pitch, velocity, program)) == estimate_key(notes)
    assert not bar_histograms(drums, drums.bars()).any()


def test_nothing_pitched_has_no_confidence():
    assert estimate_key(chords([36, 38], program=DRUMS)).confidence == 0
    assert estimate_key(chords([60]).select(np.zeros(1, dtype=bool))).confidence == 0


def test_bar_histogram_by_hand():
    """A 4/4 bar and the next: C held over the bar line, a short E, two voices on G."""
    notes = Notes(
        onset=np.array([2.0, 0.0, 4.0, 4.0]),
        duration=np.array([3.0, 0.5, 1.0, 2.0]),
        pitch=np.array([60, 64, 67, 43]),
        velocity=np.full(4, 64),
        program=np.zeros(4, dtype=np.int64),
    )
    expected = np.zeros((2, 12))
    expected[0, [0, 4]] = 2.0, 0.5
    expected[1, [0, 7]] = 1.0, 3.0
    assert bar_histograms(notes, notes.bars()) == pytest.approx(expected)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_bar_histograms_equal_note_by_note_overlap(seed):
    notes = random_notes(seed)
    bars = notes.bars()
    slow = np.zeros((len(bars), 12))
    for onset, release, pitch, program in zip(
        notes.onset, notes.release, notes.pitch, notes.program, strict=True
    ):
        for bar in range(len(bars)):
            overlap = min(release, bars.edges[bar + 1]) - max(onset, bars.edges[bar])
            if program != DRUMS and overlap > 0:
                slow[bar, pitch % 12] += overlap
    assert bar_histograms(notes, bars) == pytest.approx(slow)


@pytest.mark.parametrize("window", [1, 4, 5, 50])
def test_moving_sum_equals_slices(window):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    slow = [
        rows[max(0, i - window // 2) : i + (window + 1) // 2].sum(axis=0) for i in range(len(rows))
    ]
    assert moving_sum(rows, window) == pytest.approx(np.array(slow))


def test_local_modes_follow_the_music():
    """C major, A minor, then C minor (the parallel key), 16 bars each."""
    notes = chords(*MAJOR_CADENCE * 4, *MINOR_CADENCE * 4, *C_MINOR_CADENCE * 4)
    major = local_modes(notes, notes.bars())
    assert major.shape == (48,)
    assert (major[:12] > 0.8).all()
    assert (major[20:28] < 0.2).all()
    assert (major[36:] < 0.5).all()


def test_local_modes_are_missing_where_little_sounds():
    notes = chords(*MAJOR_CADENCE)
    major = local_modes(notes, notes.bars(at_least=20))
    assert np.isfinite(major[:4]).all()
    assert np.isnan(major[10:]).all()


def test_thousands_of_bars_take_milliseconds():
    notes = chords(*MAJOR_CADENCE * 1000)
    bars = notes.bars()
    start = time.process_time()
    assert len(local_modes(notes, bars)) == 4000
    assert time.process_time() - start < 0.5
