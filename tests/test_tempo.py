"""Tempo of struck tones, steady and gliding, though another one is expected."""

import numpy as np
import pytest

from sonicrx_ml import acoustics, tempo

RATE = 48_000


def clicks(beats_per_second, seconds, rate=RATE):
    """Struck tones on the beats of a tempo function (beats per second at each time)."""
    t = np.arange(round(seconds * rate)) / rate
    beats = np.cumsum(beats_per_second(t)) / rate
    since = t - t[np.searchsorted(beats, np.floor(beats))]
    pitch = 220.0 * 2 ** ((np.floor(beats) * 5 % 12) / 12)
    return np.exp(-6 * since) * np.minimum(since / 0.01, 1) * np.sin(2 * np.pi * pitch * since)


@pytest.mark.parametrize("bpm", [40.0, 48.0, 62.0, 75.0, 90.0, 117.0, 140.0, 172.0, 210.0])
def test_tempo_of_a_steady_beat_though_expected_elsewhere(bpm):
    sound = clicks(lambda t: np.full_like(t, bpm / 60), 24, 24_000)
    for wrong in (0.95, 1.06):
        curve = tempo.tempo_near(sound, 24_000, bpm * wrong)
        np.testing.assert_allclose(curve.values, bpm, rtol=0.003)


@pytest.mark.parametrize("expected", [50.0, 60.0, 84.0, 120.0])
@pytest.mark.parametrize("times", [0.7, 0.75, 0.8, 0.9, 1.1, 1.25, 4 / 3, 1.5])
def test_another_beat_is_told_from_the_expected_one(expected, times):
    sound = clicks(lambda t: np.full_like(t, expected * times / 60), 30, 8_000)
    ratio = tempo.beat_ratio(tempo.onset_strength(sound, 8_000), expected, 1.0)
    nearest = times / 2.0 ** np.round(np.log2(times))  # of its octaves
    assert ratio == pytest.approx(nearest, rel=0.01)
    assert abs(ratio - 1.0) > tempo.SEARCH


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0])
def test_half_and_double_the_beat_are_taken_for_it(times):
    sound = clicks(lambda t: np.full_like(t, 66 * times / 60), 30, 8_000)
    ratio = tempo.beat_ratio(tempo.onset_strength(sound, 8_000), 66.0, 1.0)
    assert ratio == pytest.approx(1.0, abs=0.005)


def test_the_beat_of_a_compound_meter_is_told_by_its_eighths():
    """Twelve eighths in 4 s, accented in threes: 45 dotted quarters a minute."""
    sound = clicks(lambda t: np.full_like(t, 3.0), 30, 8_000)
    beat = np.floor(np.arange(len(sound)) / 8_000 * 3.0)
    sound *= np.where(beat % 3 == 0, 1.0, 0.2)
    onsets = tempo.onset_strength(sound, 8_000)
    assert tempo.beat_ratio(onsets, 60.0, 1.5) == pytest.approx(1.0, abs=0.005)
    assert tempo.beat_ratio(onsets, 80.0, 1.5) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(("accented", "heard"), [(3, 1.0), (2, 0.75)])
def test_of_a_beat_in_three_and_one_and_a_half_of_it_in_two_the_accented_one_is_told(
    accented, heard
):
    """Three tones a second: 60 BPM where every third is accented, 90 where every second is."""
    sound = clicks(lambda t: np.full_like(t, 3.0), 30, 8_000)
    tone = np.floor(np.arange(len(sound)) / 8_000 * 3.0)
    sound *= np.where(tone % accented == 0, 1.0, 0.3)
    ratio = tempo.beat_ratio(tempo.onset_strength(sound, 8_000), 60.0, 1.0)
    assert ratio == pytest.approx(heard, abs=0.01)


def test_a_beat_is_heard_to_the_very_end():
    """Of 39 s the last fifteen have a beat: of a window of the first 32 s only the faint end."""
    times = np.arange(3900) / tempo.ONSET_RATE
    strength = np.where((times > 24) & (times % 1.0 < 0.03), 5.0, 0.0)
    for values in (strength, strength[::-1]):
        beats = acoustics.Curve(times, values, "")
        assert tempo.beat_ratio(beats, 60.0, 1.0) == pytest.approx(1.0, abs=0.01)


def test_a_glide_is_the_beat_that_was_expected():
    sound = clicks(lambda t: (84 - 24 * t / 60) / 60, 60, 8_000)
    onsets = tempo.onset_strength(sound, 8_000)
    asked = acoustics.Curve(np.array([0.0, 60.0]), np.array([84.0, 60.0]), "BPM")
    assert tempo.beat_ratio(onsets, asked, 1.0) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("seed", range(12))
def test_noise_has_no_beat(seed):
    noise = np.random.default_rng(seed).standard_normal(30 * 8_000)
    assert np.isnan(tempo.beat_ratio(tempo.onset_strength(noise, 8_000), 60.0, 1.0))


def test_silence_has_no_beat():
    silence = tempo.onset_strength(np.zeros(20 * 8_000), 8_000)
    assert np.isnan(tempo.beat_ratio(silence, 60.0, 1.0))


def test_tempo_follows_a_glide():
    sound = clicks(lambda t: (84 - 24 * t / 60) / 60, 60, 24_000)
    expected = acoustics.Curve(np.array([0.0, 60.0]), np.array([84.0, 60.0]) * 1.03, "BPM")
    curve = tempo.tempo_near(sound, 24_000, expected)
    np.testing.assert_allclose(curve.values, 84 - 24 * curve.times / 60, rtol=0.004)
    assert curve.times[0] < 9
    assert curve.times[-1] > 48


def test_tempo_of_silence_is_not_invented():
    assert np.isnan(tempo.tempo_near(np.zeros(20 * RATE), RATE, 60.0).values).all()


def test_tempo_refuses_a_stopped_clock():
    with pytest.raises(ValueError, match=r"expected tempo 0\.0 BPM"):
        tempo.tempo_near(np.zeros(20 * RATE), RATE, 0.0)


def test_tempo_refuses_a_sound_shorter_than_its_window():
    with pytest.raises(ValueError, match=r"legal is 16\.0 s"):
        tempo.tempo_near(np.zeros(RATE), RATE, 60.0)


def test_one_click_begins_once():
    """A running variance may end a hair below 0: no root of it is taken."""
    sound = np.zeros(20 * RATE)
    sound[5000] = 1.0
    onsets = tempo.onset_strength(sound, RATE)
    assert np.isfinite(onsets.values).all()
    assert onsets.times[onsets.values.argmax()] == pytest.approx(5000 / RATE, abs=0.06)
