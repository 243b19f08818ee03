"""A-weighting by the table of IEC 61672-1, doses by hand, rises that were put into a sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml import acoustics, hearing

RATE = 48_000
FULL_SCALE = 94.0


def tone(hz, seconds=2.0, db=0.0, rate=RATE):
    return 10 ** (db / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def dba(samples, rate=RATE):
    return hearing.a_weighted_level(samples, rate, full_scale_db_spl=FULL_SCALE)


@pytest.mark.parametrize(
    ("hz", "gain"),
    [
        (31.62, -39.4),
        (100.0, -19.1),
        (251.19, -8.6),
        (1000.0, 0.0),
        (3981.07, 1.0),
        (7943.28, -1.1),
        (10_000.0, -2.5),
    ],
)
def test_a_weighting_is_iec_61672_1_table_3(hz, gain):
    assert acoustics.decibel(hearing.a_weighting(hz)) == pytest.approx(gain, abs=0.06)
    assert dba(tone(hz)) == pytest.approx(FULL_SCALE + gain, abs=0.3)


def test_the_louder_ear_counts_and_dc_does_not():
    sound = np.stack([tone(1000, db=-20), tone(1000, db=-10)])
    assert dba(sound) == pytest.approx(84.0, abs=0.01)
    assert dba(sound + 0.2) == pytest.approx(84.0, abs=0.01)
    assert dba(np.zeros((2, RATE))) == -np.inf


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_the_level_is_the_same_at_any_rate(rate):
    assert dba(tone(1000, rate=rate), rate) == pytest.approx(FULL_SCALE, abs=0.05)


@pytest.mark.parametrize(
    ("level", "hours"), [(80, 40), (83, 20), (86, 10), (77, 80), (70, 168), (-np.inf, 168)]
)
def test_weekly_hours_of_h_870(level, hours):
    assert hearing.weekly_hours(level) == pytest.approx(hours)


@given(st.floats(75.0, 110.0))
def test_the_dose_of_the_hours_is_1_6_pascal_squared_hours(level):
    pascal_squared = (2e-5 * 10 ** (level / 20)) ** 2
    if level >= 80:
        assert hearing.weekly_hours(level) * pascal_squared == pytest.approx(1.6, rel=0.03)
    assert hearing.weekly_hours(level, hearing.CHILD) <= hearing.weekly_hours(level)


def rise(*levels):
    """Startle of a tone at levels in dBFS, two seconds each."""
    sound = np.concatenate([tone(1000, db=db) for db in levels])
    return hearing.startle(acoustics.k_weighted(sound, RATE))


def test_a_step_is_its_rise():
    assert rise(*[-30.0] * 3, *[-26.0] * 3) == pytest.approx(4.0, abs=0.1)
    assert rise(*[-30.0] * 30, -21.0) == pytest.approx(9.0, abs=0.1)


def test_music_may_begin_but_not_burst_in_after_a_rest():
    assert rise(-20.0) == pytest.approx(0.0, abs=0.05)
    assert rise(-20.0, *[-200.0] * 2, -20.0) == pytest.approx(10.0, abs=0.4)
    assert rise(-20.0, -200.0, -20.0) == pytest.approx(0.0, abs=0.4)  # 2 s: still remembered


def test_a_beat_that_goes_on_and_a_swell_do_not_startle():
    t = np.arange(12 * RATE) / RATE
    beat = tone(500, 12.0) * np.exp(-(t % 0.8) / 0.15)
    swell = tone(1000, 6.0, -30.0) * np.geomspace(1.0, 4.0, 6 * RATE)
    for sound in (beat, swell):
        assert hearing.startle(acoustics.k_weighted(sound, RATE)) < hearing.RISE_LIMIT


def test_silence_does_not_startle_and_too_short_a_clip_cannot_tell():
    assert hearing.startle(acoustics.k_weighted(np.zeros(RATE), RATE)) == 0.0
    with pytest.raises(ValueError, match=r"0\.100 s of sound; legal is 0\.4 s"):
        hearing.startle(acoustics.k_weighted(tone(440, 0.1), RATE))
