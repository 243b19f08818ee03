"""Loudness and range against the standards' own cases; the centroid on tones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from sonicrx_ml import acoustics

RATE = 48_000


def tone(level_dbfs, seconds, hz=1000.0, rate=RATE):
    """A stereo sine whose peak is `level_dbfs` in each channel."""
    t = np.arange(round(seconds * rate)) / rate
    return np.tile(10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * t), (2, 1))


def tones(*steps):
    return np.concatenate([tone(level, seconds) for level, seconds in steps], axis=1)


# ---------------------------------------------------------------- loudness


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 88_200, 96_000, 192_000])
def test_full_scale_997_hz_in_one_channel_is_minus_3_01(rate):
    left = tone(0.0, 2.0, 997.0, rate)[0]
    assert acoustics.integrated_loudness(left, rate) == pytest.approx(-3.01, abs=0.025)


def test_k_weighting_is_the_standards_table_at_48_khz():
    table = [
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1.0, -1.69065929318241, 0.73248077421585),
        (1.0, -2.0, 1.0),
        (1.0, -1.99004745483398, 0.99007225036621),
    ]
    np.testing.assert_allclose(acoustics.k_weighting(48_000).reshape(4, 3), table, atol=1e-8)


TECH_3341: dict[int, tuple[list[tuple[float, float]], float]] = {
    1: ([(-23, 20)], -23.0),
    2: ([(-33, 20)], -33.0),
    3: ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
    4: ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
    5: ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
}


@pytest.mark.parametrize("case", TECH_3341)
def test_integrated_loudness_tech_3341(case):
    steps, expected = TECH_3341[case]
    assert acoustics.integrated_loudness(tones(*steps), RATE) == pytest.approx(expected, abs=0.1)


def test_short_term_tech_3341_case_9():
    curve = acoustics.short_term_loudness(tones(*[(-20, 1.34), (-30, 1.66)] * 5), RATE)
    np.testing.assert_allclose(curve.values, -23.0, atol=0.1)
    assert curve.times[0] == pytest.approx(1.5)
    assert np.diff(curve.times) == pytest.approx(0.1)


def test_momentary_tech_3341_case_12():
    curve = acoustics.momentary_loudness(tones(*[(-20, 0.18), (-30, 0.22)] * 25), RATE)
    np.testing.assert_allclose(curve.values[curve.times > 1.0], -23.0, atol=0.1)


@pytest.mark.parametrize("i", range(20))
def test_short_term_maximum_tech_3341_cases_10_and_11(i):
    file = tones((-200, 0.15 * i), (-23, 3.0), (-200, 1.0))
    assert acoustics.max_short_term_loudness(file, RATE) == pytest.approx(-23.0, abs=0.1)
    live = tones((-200, 0.15 * i), (-38 + i, 3.0), (-200, 3.0 - 0.15 * i))
    assert acoustics.max_short_term_loudness(live, RATE) == pytest.approx(-38 + i, abs=0.1)


@pytest.mark.parametrize("i", range(20))
def test_momentary_maximum_tech_3341_cases_13_and_14(i):
    file = tones((-200, 0.02 * i), (-23, 0.4), (-200, 1.0))
    assert acoustics.max_momentary_loudness(file, RATE) == pytest.approx(-23.0, abs=0.1)
    live = tones((-200, 0.02 * i), (-38 + i, 0.4), (-200, 0.4 - 0.02 * i))
    assert acoustics.max_momentary_loudness(live, RATE) == pytest.approx(-38 + i, abs=0.1)


@pytest.mark.parametrize("case", [1, 2])
def test_momentary_and_short_term_agree_on_a_steady_tone_tech_3341(case):
    sound, expected = tones(*TECH_3341[case][0]), TECH_3341[case][1]
    for curve in (
        acoustics.momentary_loudness(sound, RATE),
        acoustics.short_term_loudness(sound, RATE),
    ):
        np.testing.assert_allclose(curve.values, expected, atol=0.1)


def test_momentary_follows_a_step_at_its_time():
    curve = acoustics.momentary_loudness(tones((-40, 2), (-20, 2)), RATE)
    assert curve.at(1.75) == pytest.approx(-40, abs=0.1)
    assert curve.at(2.25) == pytest.approx(-20, abs=0.1)


TECH_3342 = {
    1: ([-20, -30], 10.0),
    2: ([-20, -15], 5.0),
    3: ([-40, -20], 20.0),
    4: ([-50, -35, -20, -35, -50], 15.0),
}


@pytest.mark.parametrize("case", TECH_3342)
def test_loudness_range_tech_3342(case):
    levels, expected = TECH_3342[case]
    sound = tones(*[(level, 20) for level in levels])
    assert acoustics.loudness_range(sound, RATE) == pytest.approx(expected, abs=1.0)


@settings(max_examples=20, deadline=None)
@given(gain_db=st.floats(-25, 10), rate=st.sampled_from([11_025, 44_100, 48_000]))
def test_loudness_moves_with_gain(gain_db, rate):
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, rate))
    before = acoustics.integrated_loudness(noise, rate)
    after = acoustics.integrated_loudness(noise * 10 ** (gain_db / 20), rate)
    assert after - before == pytest.approx(gain_db, abs=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
def test_figures_of_one_weighting_are_those_of_the_functions(rate):
    noise = np.random.default_rng(0).standard_normal((2, 70 * rate)) * np.geomspace(
        1, 0.1, 70 * rate
    )
    weighted = acoustics.k_weighted(noise, rate)
    filtered = signal.sosfilt(acoustics.k_weighting(rate), noise, axis=1)
    whole = weighted.power(70.0)[0]
    assert whole == pytest.approx((filtered**2).sum() / noise.shape[1], rel=1e-9)
    assert weighted.integrated == acoustics.integrated_loudness(noise, rate)
    assert weighted.range == acoustics.loudness_range(noise, rate)
    assert weighted.max_momentary >= weighted.levels(0.4).values.max()


@pytest.mark.parametrize(("channels", "full_scale_lufs"), [(1, -3.01), (2, 0.0)])
def test_full_scale_level_follows_the_lufs_meter(channels, full_scale_lufs):
    """BS.1770-5: a full-scale 997 Hz sine in one front channel is -3.01 LUFS."""
    full = np.tile(np.sin(2 * np.pi * 997 * np.arange(RATE) / RATE), (channels, 1))
    found = acoustics.integrated_loudness(full, RATE)
    assert found == pytest.approx(full_scale_lufs, abs=0.01)
    level = acoustics.full_scale_level(65.0, channels)
    assert level == pytest.approx(65.0 + 23.0 + found, abs=0.01)


def test_full_scale_level_is_of_one_channel_or_two():
    with pytest.raises(ValueError, match="6 channels; legal are 1 and 2"):
        acoustics.full_scale_level(65.0, 6)


def test_silence_is_minus_infinity_and_never_nan():
    silence = np.zeros((2, 4 * RATE))
    assert acoustics.integrated_loudness(silence, RATE) == -np.inf
    assert (acoustics.momentary_loudness(silence, RATE).values == -np.inf).all()
    assert acoustics.loudness_range(silence, RATE) == 0.0
    assert len(acoustics.spectral_centroid(silence, RATE).values) == 0


def test_too_short_and_misshapen_sounds_are_refused():
    with pytest.raises(ValueError, match=r"0\.399 s of sound; legal is 0\.4 s"):
        acoustics.integrated_loudness(np.zeros(round(0.399 * RATE)), RATE)
    with pytest.raises(ValueError, match=r"shape \(6, 48000\)"):
        acoustics.integrated_loudness(np.zeros((6, RATE)), RATE)
    with pytest.raises(ValueError, match="rate 4000 Hz; legal are 8000 to 384000"):
        acoustics.integrated_loudness(np.zeros(RATE), 4000)
    with pytest.raises(ValueError, match="type int16; legal are floats"):
        acoustics.integrated_loudness(np.zeros(RATE, dtype=np.int16), RATE)
    with pytest.raises(ValueError, match=r"legal is 0\.05 s"):
        acoustics.spectral_centroid(np.zeros(10), RATE)


def test_a_plain_gain_moves_loudness_by_as_much():
    sound = 0.1 * np.sin(np.arange(5 * RATE) / 7)
    weighted = acoustics.k_weighted(sound, RATE)
    louder = acoustics.k_weighted(2 * sound, RATE)
    assert weighted.louder(20 * np.log10(2)).integrated == pytest.approx(louder.integrated)


# ---------------------------------------------------------------- timbre


@pytest.mark.parametrize("rate", [22_050, 48_000])
@pytest.mark.parametrize("hz", [440.0, 3000.0])
def test_centroid_of_a_sine_is_its_frequency(hz, rate):
    curve = acoustics.spectral_centroid(tone(-20, 1.0, hz, rate), rate)
    np.testing.assert_allclose(curve.values, hz, rtol=0.02)


def test_centroid_leaves_out_silence_and_dc():
    sound = np.concatenate([tone(-20, 1.0, 1000.0), np.zeros((2, RATE))], axis=1)
    curve = acoustics.spectral_centroid(sound + 0.3, RATE)
    inside = curve.times < 0.95
    np.testing.assert_allclose(curve.values[inside], 1000.0, rtol=0.02)
    assert curve.times.max() < 1.05


def test_centroid_rises_with_the_cutoff_of_noise():
    noise = np.random.default_rng(0).standard_normal(RATE)
    means = [
        acoustics.spectral_centroid(signal.lfilter(*signal.butter(2, hz, fs=RATE), noise), RATE)
        for hz in (500, 1000, 2000, 4000, 8000)
    ]
    assert (np.diff([curve.values.mean() for curve in means]) > 0).all()
