"""Keys heard in rendered chords, peaks of known tones, roughness of known intervals."""

import numpy as np
import pytest

from sonicrx_ml import audio, consonance, tonality
from sonicrx_ml.audio import PACKAGED_FONT
from sonicrx_ml.keys import Key
from sonicrx_ml.notes import Notes, write_midi

RATE = 24_000
ORGAN, PIANO, STRINGS = 19, 0, 48
MAJOR_CADENCE = [(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7), (9, 12, 16), (7, 11, 14), (0, 4, 7)]
MINOR_CADENCE = [(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7), (8, 12, 15), (7, 11, 14), (0, 3, 7)]


def tones(partials, seconds=1.0, rate=RATE):
    """Sum of sines (Hz, amplitude)."""
    t = np.arange(round(seconds * rate)) / rate
    return np.sum([a * np.sin(2 * np.pi * hz * t) for hz, a in partials], axis=0)


def harmonic(pitch, cents=0.0):
    hz = 440.0 * 2 ** ((pitch - 69 + cents / 100) / 12)
    return [(n * hz, 0.1 / n) for n in range(1, 9)]


def rendered(chords, tonic, program):
    """A cadence, its bass an octave below, a chord a second (120 BPM)."""
    rows = [(2.0 * i, tonic + step) for i, chord in enumerate(chords) for step in chord]
    rows += [(2.0 * i, tonic + chord[0] - 12) for i, chord in enumerate(chords)]
    onset, pitch = (np.array(column) for column in zip(*rows, strict=True))
    size = len(rows)
    notes = Notes(onset, np.full(size, 2.0), pitch, np.full(size, 70), np.full(size, program))
    midi = write_midi(notes.sort())
    return audio.render(midi, engine="tinysoundfont", font=PACKAGED_FONT, tail_s=0.5)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_the_key_of_a_rendered_cadence(tonic, mode):
    chords = MAJOR_CADENCE if mode == "major" else MINOR_CADENCE
    sound = rendered(chords, 55 + (tonic - 7) % 12, (PIANO, ORGAN, STRINGS)[tonic % 3])
    key = tonality.estimate_key(sound.samples, sound.rate)
    assert str(key) == str(Key(tonic, mode))
    assert key.confidence > 0.5


@pytest.mark.parametrize("cents", [-40, 30])
def test_a_key_is_heard_in_the_tuning_of_the_sound(cents):
    sound = [tones([p for s in c for p in harmonic(62 + s, cents)]) for c in MAJOR_CADENCE]
    assert str(tonality.estimate_key(np.concatenate(sound), RATE)) == "D major"


def test_silence_has_no_key():
    assert tonality.estimate_key(np.zeros(2 * RATE), RATE) == Key(0, "major", 0.0)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_peaks_are_the_partials(rate):
    partials = [(110.3, 0.05), (440.0, 0.3), (1234.5, 0.1), (3100.0, 0.02)]
    peaks = tonality.spectral_peaks(tones(partials, rate=rate), rate)
    for hertz, amplitudes in zip(peaks.hertz, peaks.amplitudes, strict=True):
        assert hertz[amplitudes > 0] == pytest.approx([hz for hz, _ in partials], abs=0.3)
        assert amplitudes[amplitudes > 0] == pytest.approx([a for _, a in partials], rel=0.03)
    assert peaks.times[0] == pytest.approx(0.2)
    assert np.diff(peaks.times) == pytest.approx(0.2)


def test_chroma_of_a_harmonic_tone_is_strongest_on_it():
    for pitch in range(48, 60):
        frames = tonality.chroma(tonality.spectral_peaks(tones(harmonic(pitch)), RATE))
        assert (frames.argmax(axis=1) == pitch % 12).all()


def test_roughness_of_peaks_is_that_of_the_partials():
    """Two sines 60 Hz apart, resolved by the frames: the model on the exact partials."""
    for low, high in ((440.0, 500.0), (880.0, 940.0)):
        peaks = tonality.spectral_peaks(tones([(low, 0.2), (high, 0.1)]), RATE)
        exact = np.array([low, high]), np.array([1.0, 0.5])
        rough, dissonant = consonance.hutchinson_knopoff(*exact), consonance.sethares(*exact)
        np.testing.assert_allclose(tonality.spectral_roughness(peaks).values, rough, rtol=0.05)
        found = tonality.spectral_dissonance(peaks).values
        np.testing.assert_allclose(found, dissonant, rtol=0.05)


def test_semitones_are_rougher_than_fifths_than_octaves():
    means = []
    for interval in (12, 7, 1):
        chord = tones(harmonic(72) + harmonic(72 + interval))
        peaks = tonality.spectral_peaks(chord, RATE)
        rough = tonality.spectral_roughness(peaks).values.mean()
        means.append((rough, tonality.spectral_dissonance(peaks).values.mean()))
    assert (np.diff(means, axis=0) > 0).all()
