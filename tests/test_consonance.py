"""Consonance of chords against the authors' published figures, and its mean over a piece."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import consonance
from sonicrx_ml.notes import DRUMS, Notes, TempoMap

MAJOR, MINOR, FIRST_INVERSION = {60, 64, 67}, {60, 63, 67}, {64, 67, 72}
CHORDS = st.lists(st.sets(st.integers(24, 100), min_size=1, max_size=7), min_size=1, max_size=5)


def hertz(*pitches):
    return 440.0 * 2 ** ((np.array([pitches]) - 69.0) / 12)


def piece(rows, bpm=60.0):
    """Notes of (onset, duration, pitch, program) in quarters."""
    onset, duration, pitch, program = (np.array(c) for c in zip(*rows, strict=True))
    tempo = TempoMap(np.zeros(1), np.array([bpm]))
    velocity = np.full(len(rows), 64)
    return Notes(onset * 1.0, duration * 1.0, pitch, velocity, program, tempo=tempo).sort()


# ---------------------------------------------------------------- oracles


@pytest.mark.parametrize(
    ("chord", "expected"),
    [
        ({60, 72}, 3.0600220088801),
        ({60, 67}, 2.46553060557208),
        ({60, 65}, 2.14697909722111),
        ({67, 71, 76}, 1.65796888268932),
        ({67, 68, 71, 73, 76}, 0.144723034155414),
        ({67, 69, 71, 74, 76}, 1.06124734112462),
    ],
)
def test_composite_is_harrison_and_pearces(chord, expected):
    """Expectations of the authors' R package incon 0.5.0 (har_19_composite, no chord size)."""
    found = consonance.harrison_pearce(consonance.as_chords([chord]))
    assert found[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("chord", "nats"),
    [
        (MAJOR, 0.7802433),
        (FIRST_INVERSION, 4.06715),
        (MINOR, 2.271055),
        ({60, 63, 66}, 6.134397),
        ({60, 64, 68}, 7.551463),
        ({60, 64, 67, 70}, 2.610535),
        ({60, 63, 67, 70}, 2.650456),
    ],
)
def test_corpus_dissonance_is_the_authors(chord, nats):
    """Expectations of the R package corpdiss 0.2; octaves are the same, inversions are not."""
    octave_up = {min(chord)} | {pitch + 12 for pitch in chord}
    found = consonance.corpus_dissonance(consonance.as_chords([chord, octave_up]))
    assert found == pytest.approx([nats, nats], abs=1e-6)


def test_the_counts_are_all_there():
    """74,093 chords of 2,048 types; a type that was not found counts once."""
    share = np.exp(-consonance._surprise())
    assert share.sum() == pytest.approx(1.0)
    assert share.min() == pytest.approx(1 / (74_093 + 2_048))


def test_the_terms_are_those_of_the_authors_for_a_major_triad():
    """incon 0.5.0, regression tests: hutch_78, seth_93, har_18."""
    chord = consonance.as_chords([MAJOR])
    spectra = consonance.partials(chord)
    assert consonance.hutchinson_knopoff(*spectra)[0] == pytest.approx(0.1202426, abs=1e-6)
    assert consonance.sethares(*spectra)[0] == pytest.approx(0.7735006, abs=1e-6)
    assert consonance.harmonicity(chord)[0] == pytest.approx(0.9285886, abs=1e-6)


@pytest.mark.parametrize(("pitches", "expected"), [((60, 61), 0.499), ((69, 70), 0.491)])
def test_roughness_of_two_sines_is_mashinters(pitches, expected):
    found = consonance.hutchinson_knopoff(hertz(*pitches), np.ones((1, 2)))
    assert found[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("frequencies", "amplitudes", "expected"),
    [
        ((440, 460, 480), (1, 1, 1), 2.9194),
        ((440, 460, 480), (1, 2, 3), 3.9161),
        ((440, 460, 480), (3, 2, 1), 3.9194),
        ((300, 250, 275, 425), (1.5, 2, 9, 4), 4.8657),
    ],
)
def test_dissonance_is_setharess(frequencies, amplitudes, expected):
    """His own program, in units of 440 and 460 Hz; its constants differ in the third digit."""
    unit = consonance.sethares(np.array([440.0, 460.0]), np.ones(2))
    found = consonance.sethares(np.array(frequencies) * 1.0, np.array(amplitudes) * 1.0)
    assert found / unit == pytest.approx(expected, rel=0.01)


# ---------------------------------------------------------------- laws


def slow_roughness(pitches):
    """Both roughnesses of a chord, pair by pair, partials merged by hand."""
    power: dict[float, float] = {}
    for pitch in pitches:
        for n in range(1, 12):
            place = round(pitch + 12 * np.log2(n), 6)
            power[place] = power.get(place, 0.0) + n**-2
    tones = sorted((440 * 2 ** ((p - 69) / 12), np.sqrt(v)) for p, v in power.items())
    rough = dissonant = 0.0
    for i, (f, a) in enumerate(tones):
        for g, b in tones[i + 1 :]:
            y = (g - f) / (1.72 * ((f + g) / 2) ** 0.65)
            rough += a * b * (4 * y * np.exp(1 - 4 * y)) ** 2 * (y <= 1.2)
            x = 0.24 * (g - f) / (0.021 * f + 19)
            dissonant += min(a, b) * (np.exp(-3.5 * x) - np.exp(-5.75 * x))
    return rough / sum(power.values()), dissonant


@settings(max_examples=25)
@given(CHORDS)
def test_many_chords_at_once_equal_each_pair_by_pair(chords):
    spectra = consonance.partials(consonance.as_chords(chords))
    slow = np.array([slow_roughness(chord) for chord in chords])
    np.testing.assert_allclose(consonance.hutchinson_knopoff(*spectra), slow[:, 0], rtol=1e-9)
    np.testing.assert_allclose(consonance.sethares(*spectra), slow[:, 1], rtol=1e-9)


@settings(max_examples=30)
@given(CHORDS, st.integers(-12, 12))
def test_harmonicity_and_familiarity_do_not_move_with_transposition(chords, semitones):
    moved = [{pitch + semitones for pitch in chord} for chord in chords]
    before, after = consonance.as_chords(chords), consonance.as_chords(moved)
    for measure in (consonance.harmonicity, consonance.corpus_dissonance):
        np.testing.assert_allclose(measure(before), measure(after), rtol=1e-9)


def test_roughness_ignores_level_and_dissonance_grows_with_it():
    spectra = consonance.partials(consonance.as_chords([MAJOR]))
    louder = (spectra[0], 10 * spectra[1])
    rough, dissonant = consonance.hutchinson_knopoff, consonance.sethares
    assert rough(*louder) == pytest.approx(rough(*spectra))
    assert dissonant(*louder) == pytest.approx(10 * dissonant(*spectra))


def test_an_empty_spectrum_is_smooth():
    assert consonance.hutchinson_knopoff(np.zeros((2, 3)), np.zeros((2, 3))).tolist() == [0, 0]
    assert consonance.sethares(np.zeros((1, 0)), np.zeros((1, 0))).tolist() == [0]


def test_what_is_no_chord_is_refused():
    with pytest.raises(ValueError, match=r"chord \[60, 128\]; legal are"):
        consonance.as_chords([{60, 128}])
    with pytest.raises(ValueError, match=r"chord \[\]; legal are"):
        consonance.as_chords([MAJOR, set()])


# ---------------------------------------------------------------- pieces


def test_a_piece_is_the_mean_of_its_chords_over_time():
    """A major triad for 3 s, a cluster for 1 s, a single note and a drum that count for nothing."""
    rows = [(0, 3, pitch, 0) for pitch in MAJOR] + [(3, 1, pitch, 48) for pitch in (60, 61, 62)]
    rows += [(4, 9, 60, 0), (4, 9, 36, DRUMS)]
    found = consonance.consonance(piece(rows, bpm=120.0))
    chords = consonance.as_chords([MAJOR, {60, 61, 62}])
    assert found.composite == pytest.approx(consonance.harrison_pearce(chords) @ [0.75, 0.25])
    assert found.harmonicity == pytest.approx(consonance.harmonicity(chords) @ [0.75, 0.25])
    assert found.seconds == pytest.approx(2.0)


def test_sonorities_meet_where_notes_overlap():
    """A held note, one that enters and leaves above it, and a unison that ends before."""
    rows = [(0, 4, 60, 0), (1, 2, 67, 0), (0, 3, 60, 48)]
    chords, seconds = consonance.sonorities(piece(rows))
    assert np.flatnonzero(chords[0]).tolist() == [60, 67]
    assert seconds == pytest.approx([2.0])


def test_a_melody_alone_has_no_consonance():
    with pytest.raises(ValueError, match="no two pitches of 2 notes sound together"):
        consonance.consonance(piece([(0, 1, 60, 0), (1, 1, 64, 0)]))
