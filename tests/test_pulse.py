"""Attacks, beats and breaths that were put into a sound are found in it."""

import numpy as np
import pytest

from sonicrx_ml import pulse

RATE = 12_000


def struck(attack_ms, hz=440.0, rate=RATE):
    """Six tones, one a second, that rise straight and then decay."""
    t = np.arange(rate) / rate
    attack = attack_ms / 1000
    shape = np.minimum(t / attack, 1) * np.exp(-4 * np.maximum(t - attack, 0))
    return np.tile(0.5 * shape * np.sin(2 * np.pi * hz * t), 6)


def beat(bpm, seconds, jitter_s=0.0, rng=None):
    """Struck tones on the beats, each `jitter_s` (standard deviation) off."""
    t = np.arange(round(seconds * RATE)) / RATE
    onsets = np.arange(0, seconds, 60 / bpm)
    if rng is not None:
        onsets = np.sort(np.abs(onsets + jitter_s * rng.standard_normal(len(onsets))))
    onsets[0] = 0.0
    since = t - onsets[np.searchsorted(onsets, t, side="right") - 1]
    return 0.5 * np.exp(-8 * since) * np.minimum(since / 0.01, 1) * np.sin(2 * np.pi * 330 * t)


# ---------------------------------------------------------------- attacks


@pytest.mark.parametrize("hz", [110.0, 440.0, 2000.0])
@pytest.mark.parametrize("attack_ms", [20, 50, 100, 200, 400])
def test_a_straight_attack_reads_four_fifths_of_its_length(attack_ms, hz):
    curve = pulse.attack_times(struck(attack_ms, hz), RATE)
    assert len(curve.values) == 6
    assert curve.values[1:] == pytest.approx(0.8 * attack_ms, rel=0.05, abs=4)
    assert curve.times == pytest.approx(np.arange(6) + 0.9e-3 * attack_ms, abs=0.01)
    assert curve.unit == "ms"


def test_attacks_grow_with_their_length_whatever_the_level_and_the_dc():
    means = [pulse.attack_times(struck(ms), RATE).values.mean() for ms in (2, 10, 30, 90, 270)]
    assert (np.diff(means) > 0).all()
    loud = pulse.attack_times(struck(50), RATE)
    quiet = pulse.attack_times(0.01 * struck(50) + 0.3, RATE)
    np.testing.assert_allclose(quiet.values, loud.values, atol=1)


def test_a_steady_tone_attacks_once_and_silence_never():
    steady = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    assert len(pulse.attack_times(np.r_[np.zeros(RATE), steady], RATE).values) == 1
    assert len(pulse.attack_times(np.zeros(RATE), RATE).values) == 0


# ---------------------------------------------------------------- pulse


@pytest.mark.parametrize("bpm", [42, 60, 90, 130, 195])
def test_a_steady_beat_is_clear_and_less_so_the_more_it_strays(bpm):
    rng = np.random.default_rng(0)
    spans = [0.0, 0.05 * 60 / bpm, 0.3 * 60 / bpm]
    clarity = [pulse.pulse_clarity(beat(bpm, 20, span, rng), RATE) for span in spans]
    assert clarity[0] > 0.8
    assert clarity[0] > clarity[1] > clarity[2]


def test_clarity_falls_with_noise_and_is_0_in_silence():
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    levels = [pulse.pulse_clarity(beat(80, 20) + gain * noise, RATE) for gain in (0, 0.02, 0.2)]
    assert (np.diff(levels) < 0).all()
    assert pulse.pulse_clarity(noise, RATE) < 0.2
    assert pulse.pulse_clarity(np.zeros(5 * RATE), RATE) == 0.0


# ---------------------------------------------------------------- breathing


def breathed(sound, hz, depth_db):
    t = np.arange(len(sound)) / RATE
    return sound * 10 ** (depth_db / 2 * np.sin(2 * np.pi * hz * t + 1.0) / 20)


@pytest.mark.parametrize("hz", [0.06, 0.0833, 0.1, 0.15, 0.22])
@pytest.mark.parametrize("depth_db", [2.0, 8.0])
def test_a_known_breath_is_found_in_struck_notes(hz, depth_db):
    found = pulse.breathing(breathed(beat(72, 60), hz, depth_db), RATE)
    assert found.rate_hz == pytest.approx(hz, rel=0.05)
    assert found.depth_db == pytest.approx(depth_db, abs=0.5)
    assert found.share > 0.8


def test_a_breath_is_found_between_silences_and_over_a_fade():
    noise = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE)
    fading = breathed(noise, 0.1, 4.0) * np.geomspace(1.0, 0.1, len(noise))
    found = pulse.breathing(np.r_[np.zeros(5 * RATE), fading, np.zeros(9 * RATE)], RATE)
    assert found.rate_hz == pytest.approx(0.1, rel=0.05)
    assert found.depth_db == pytest.approx(4.0, abs=0.5)


def test_where_nothing_breathes_the_depth_is_near_0():
    noise = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE)
    assert pulse.breathing(noise, RATE).depth_db < 0.2


def test_what_cannot_hold_a_breath_is_refused():
    noise = 0.1 * np.random.default_rng(0).standard_normal(30 * RATE)
    with pytest.raises(ValueError, match=r"29\.7 s of audible sound; legal is 40\.0 s"):
        pulse.breathing(noise, RATE)
    with pytest.raises(ValueError, match=r"0\.0 s of audible sound"):
        pulse.breathing(0 * noise, RATE)
    with pytest.raises(ValueError, match=r"0\.3 to 0\.2 Hz; legal are"):
        pulse.breathing(noise, RATE, low_hz=0.3, high_hz=0.2)
