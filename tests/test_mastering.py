"""Mastering: the asked loudness under the ceiling, no DC, soft ends, and an honest record."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sonicrx_ml import hearing
from sonicrx_ml.acoustics import (
    Curve,
    integrated_loudness,
    k_weighted,
)
from sonicrx_ml.audio import Sound
from sonicrx_ml.mastering import (
    CEILING_MARGIN_DB,
    RIDE_DB,
    SUDDEN,
    Mastering,
    block_dc,
    fades,
    limit,
    master,
    ride,
    soften,
)
from sonicrx_ml.peaks import PEAK_BLOCK, peaks_between, true_peak

RATE = 48_000


def sound(samples):
    return Sound(np.asarray(samples, dtype=np.float32), RATE, "engine 1", "font.sf2", "0" * 64)


def plucks(seconds=6.0, level=0.05, decay=3.0):
    """One decaying tone a second, panned to the left: peaks well above its loudness."""
    t = np.arange(round(seconds * RATE)) / RATE
    mono = level * np.exp(-decay * (t % 1.0)) * np.sin(2 * np.pi * 330 * t)
    return np.stack([mono, 0.5 * mono])


@pytest.mark.parametrize("target", [-35.0, -23.0, -16.0])
def test_loudness_is_the_target_and_the_record_is_true(target):
    mastered, record = master(sound(plucks()), target_lufs=target)
    assert integrated_loudness(mastered.samples, RATE) == pytest.approx(target, abs=0.05)
    assert record.loudness_lufs == integrated_loudness(mastered.samples, RATE)
    assert record.true_peak_dbtp == true_peak(mastered.samples, RATE) <= -1.0
    assert record.seconds == mastered.seconds == 6.0
    assert (mastered.engine, mastered.font) == ("engine 1", "font.sf2")


@settings(max_examples=8, deadline=None)
@given(gain_db=st.floats(-40, 30))
def test_the_level_of_the_render_does_not_matter(gain_db):
    mastered, record = master(sound(plucks(4.0)))
    again, other = master(sound(plucks(4.0) * 10 ** (gain_db / 20)))
    np.testing.assert_allclose(again.samples, mastered.samples, atol=1e-4)
    assert other.gain_db == pytest.approx(record.gain_db - gain_db, abs=0.01)


def test_a_plain_gain_when_the_ceiling_is_far():
    source = plucks()
    mastered, record = master(sound(source), fade_in_s=0.0, fade_out_s=0.0)
    assert record.limited_db == 0.0
    plain = block_dc(source.astype(np.float32), RATE) * 10 ** (record.gain_db / 20)
    np.testing.assert_allclose(mastered.samples, plain, atol=1e-6)


def test_a_near_ceiling_is_kept_by_limiting_and_recorded():
    mastered, record = master(sound(plucks(decay=8.0)), target_lufs=-16.0, ceiling_dbtp=-6.0)
    assert record.limited_db > 3.0
    assert record.true_peak_dbtp <= -6.0
    assert record.loudness_lufs == pytest.approx(-16.0, abs=0.05)
    ratio = np.abs(mastered.samples[0]).max() / np.abs(mastered.samples[1]).max()
    assert ratio == pytest.approx(2.0, rel=0.01)  # the stereo image stays


def test_the_limiter_touches_only_what_is_near_a_peak():
    quiet = 0.1 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE) * np.ones((2, 1))
    burst = quiet.copy()
    burst[:, 24_000:24_100] *= 12.0
    limited, reduction = limit(burst, RATE, -6.0)
    assert reduction == pytest.approx(20 * np.log10(1.2) + 6.0, abs=1.0)
    assert true_peak(limited, RATE) <= -6.0
    away = np.r_[0:23_000, 25_100:RATE]
    np.testing.assert_allclose(limited[:, away], quiet[:, away], atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), odd=st.integers(0, 127))
def test_the_limiter_that_skips_blocks_equals_one_that_looks_everywhere(seed, odd):
    rng = np.random.default_rng(seed)
    samples = 0.2 * rng.standard_normal((2, 20_000 + odd))
    samples[:, rng.integers(0, samples.shape[1], 5)] *= 8.0
    ceiling = 10 ** ((-1.0 - CEILING_MARGIN_DB) / 20)
    every = peaks_between(samples, np.arange(-(-samples.shape[1] // PEAK_BLOCK)), 4).ravel()
    needed = np.minimum(1.0, ceiling / np.maximum(every, 1e-9))
    held = ndimage.minimum_filter1d(needed, 481, mode="nearest")
    hann = np.hanning(481)
    gain = ndimage.convolve1d(held, hann / hann.sum(), mode="nearest")[: samples.shape[1]]
    limited, _ = limit(samples.copy(), RATE, -1.0)
    expected = samples * gain
    loudest = np.abs(expected).max()  # what the true peak still exceeds is a gain for all
    np.testing.assert_allclose(limited / np.abs(limited).max(), expected / loudest, atol=1e-9)


def test_an_offset_is_removed_without_a_thump():
    mastered, record = master(sound(plucks() + np.array([[0.1], [-0.03]])))
    clean, _ = master(sound(plucks()))
    assert record.dc_removed == pytest.approx(0.1, abs=0.002)
    assert np.abs(mastered.samples.mean(axis=1)).max() < 1e-4
    np.testing.assert_allclose(mastered.samples, clean.samples, atol=2e-3)


def test_fades_are_raised_cosines():
    gain = fades(RATE, RATE, 0.1, 0.4)
    assert (gain[0], gain[-1]) == (0.0, 0.0)
    assert gain[2400] == pytest.approx(0.5)
    assert (gain[4800:-19_200] == 1.0).all()
    assert (np.diff(gain[:4800]) > 0).all()
    assert (np.diff(gain[-19_200:]) < 0).all()


def test_the_end_is_where_it_was_asked():
    mastered, record = master(sound(plucks()), end_s=4.5, fade_out_s=1.0)
    assert mastered.samples.shape == (2, 216_000)
    assert (mastered.samples[:, -1] == 0.0).all()
    assert isinstance(record, Mastering)
    assert (record.seconds, record.fade_out_s) == (4.5, 1.0)


def test_silence_is_refused():
    with pytest.raises(ValueError, match="the sound is silent"):
        master(sound(np.zeros((2, 4 * RATE))))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"target_lufs": -3.0}, r"target_lufs -3\.0; legal are -60 to -10"),
        ({"ceiling_dbtp": 1.0}, r"ceiling_dbtp 1\.0; legal are -20 to 0"),
        ({"end_s": 7.0}, r"end_s 7\.0; legal are \.4 to the sound's 6\.000 s"),
        ({"fade_in_s": 4.0}, r"fades of 4\.0 and 3\.0 s; legal are 0 to 6\.0 s"),
    ],
)
def test_illegal_choices_name_the_legal_ones(choice, message):
    with pytest.raises(ValueError, match=message):
        master(sound(plucks()), **choice)


# ---------------------------------------------------------------- the level ride


def stepped(seconds=40.0, step_db=8.0):
    """A steady tone that is `step_db` louder in its second half."""
    t = np.arange(round(seconds * RATE)) / RATE
    level = 0.05 * 10 ** (step_db * (t >= seconds / 2) / 20)
    return np.tile(level * np.sin(2 * np.pi * 330 * t), (2, 1))


def levels(samples):
    """Short-term loudness 10 s and 30 s in."""
    heard = k_weighted(samples, RATE).levels(3.0)
    return heard.at(np.array([10.0, 30.0]))


@pytest.mark.parametrize("meant", [0.0, 8.0, -4.0])
def test_the_ride_gives_the_dynamics_that_are_meant(meant):
    """Whatever the render did, the second half is as much louder as is asked."""
    dynamics = Curve(np.array([19.0, 21.0]), np.array([0.0, meant]), "dB")
    first, second = levels(ride(stepped(), RATE, dynamics)[0])
    assert second - first == pytest.approx(meant, abs=0.1)


def test_the_ride_has_limits_and_holds_over_rests():
    flat = Curve(np.array([0.0]), np.array([0.0]), "dB")
    far = stepped(step_db=24.0)
    first, second = levels(ride(far, RATE, flat)[0])
    assert second - first == pytest.approx(24.0 - 2 * RIDE_DB, abs=0.5)
    rest = stepped(step_db=0.0)
    rest[:, 15 * RATE : 25 * RATE] *= 1e-4
    ridden, span = ride(rest, RATE, flat)
    assert span < 1.0
    assert np.abs(ridden[:, 18 * RATE : 22 * RATE]).max() < 1e-5


def test_what_is_short_or_silent_is_left_alone():
    flat = Curve(np.array([0.0]), np.array([0.0]), "dB")
    short = stepped(5.0)
    assert ride(short, RATE, flat)[0] is short
    silent = np.zeros((2, 20 * RATE))
    assert ride(silent, RATE, flat)[0] is silent


def test_riding_is_in_the_record():
    flat = Curve(np.array([0.0]), np.array([0.0]), "dB")
    _, record = master(sound(stepped()), dynamics=flat)
    assert 7.0 < record.ridden_db < 9.0
    assert master(sound(stepped()))[1].ridden_db == 0.0


# ---------------------------------------------------------------- softening


def jumping(jump_db, rate=8_000):
    """Noise of 12 s that grows louder by so much at 5 s, and for .3 s at 10 s by as much again."""
    seconds = np.arange(12 * rate) / rate
    noise = np.random.default_rng(3).normal(scale=0.01, size=(2, len(seconds)))
    step = jump_db * (seconds > 5) + jump_db * ((seconds > 10) & (seconds < 10.3))
    return (noise * 10 ** (step / 20)).astype(np.float32), rate


@pytest.mark.parametrize("jump_db", [7, 10, 14])
def test_what_would_startle_is_turned_down_to_the_limit(jump_db):
    samples, rate = jumping(jump_db)
    before = hearing.startle(k_weighted(samples, rate))
    assert before > hearing.RISE_LIMIT
    softened, most = soften(samples.copy(), rate)
    assert hearing.startle(k_weighted(softened, rate)) <= SUDDEN + 0.05
    assert before - SUDDEN <= most <= before - SUDDEN + 3
    far = slice(7 * rate, 9 * rate)  # two seconds after the rise it is as loud as before
    assert softened[:, far] == pytest.approx(samples[:, far], rel=1e-6)


def test_what_does_not_startle_is_left_alone():
    samples, rate = jumping(4)
    softened, most = soften(samples.copy(), rate)
    assert most == 0.0
    assert (softened == samples).all()


def test_silence_is_not_softened():
    assert soften(np.zeros((2, 8_000), dtype=np.float32), 8_000)[1] == 0.0
