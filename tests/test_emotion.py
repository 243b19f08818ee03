"""The refit of Eerola, Friberg & Bresin 2013, and energy as read off it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml.emotion import AROUSAL, MIN_ONSETS, TERMS, energy, predict, solve_energy

Point = tuple[float, float, float, float]


def test_predict_at_the_centre_is_the_constant_plus_mode():
    # pace 2.8, 0 dB, legato, MIDI 65, trumpet: only the constant and the mode terms are left
    minor = predict(2.8, 0.0, 1.0, 65.0, major=0.0, flute=0.0)
    major = predict(2.8, 0.0, 1.0, 65.0, major=1.0, flute=0.0)
    assert [float(x) for x in minor[:4]] == pytest.approx([1.44, 3.93, 3.10, 2.13])
    assert [float(x) for x in major[:4]] == pytest.approx([3.23, 2.25, 2.33, 2.54])


def test_predict_adds_the_published_terms():
    # twice the pace, an octave up, +10 dB, staccato, flute, major: the row sums of the table
    found = predict(5.6, 10.0, 0.0, 77.0, major=1.0, flute=1.0)
    assert [float(x) for x in found[:4]] == pytest.approx([4.83, 1.00, 1.76, 2.34])
    assert found.valid


@pytest.mark.parametrize(
    "outside", [(1.1, 0, 1, 65), (6.1, 0, 1, 65), (3, 11, 1, 65), (3, 0, 1, 52), (3, 0, 1, 84)]
)
def test_predict_flags_what_the_study_did_not_cover(outside: Point):
    assert predict(3.0, 0.0, 1.0, 65.0, major=1.0).valid
    assert not predict(*outside, 1.0).valid


def test_predict_broadcasts():
    found = predict(np.full((3, 1), 2.8), np.zeros(4), 1.0, 65.0, major=1.0)
    assert found.happy.shape == found.valid.shape == (3, 4)


def test_arousal_coefficients_by_hand():
    arousal = dict(zip(TERMS, AROUSAL, strict=True))
    by_hand = {"pace": 0.87, "loudness": 0.555, "staccato": 0.64, "register": -0.15}
    assert {term: arousal[term] for term in by_hand} == pytest.approx(by_hand)


def test_energy_runs_from_corner_to_corner():
    assert energy([1.2, 6.0], [-10.0, 10.0], [1.0, 0.0], 65.0) == pytest.approx([0.0, 1.0])


def test_energy_by_hand():
    # one doubling of 1.2/s and half staccato at 0 dB: (.87 + .555 + .32) / (.87 log2(5) + 1.75)
    assert float(energy(2.4, 0.0, 0.5, 65.0)) == pytest.approx(1.745 / 3.7700774, abs=1e-7)


def test_energy_is_half_the_difference_of_the_predicted_ratings():
    a, b = (2.0, -5.0, 0.9, 60.0), (4.0, 5.0, 0.3, 70.0)
    corners = (1.2, -10.0, 1.0, 65.0), (6.0, 10.0, 0.0, 65.0)

    def arousal(point: Point) -> float:
        happy, sad, scary, peaceful, _ = predict(*point, 0.0)
        return float(happy + scary - sad - peaceful) / 2

    scale = arousal(corners[1]) - arousal(corners[0])
    assert float(energy(*b) - energy(*a)) == pytest.approx((arousal(b) - arousal(a)) / scale)


def test_energy_of_silence_is_that_of_the_floor():
    assert energy(0.0, 0.0, 1.0, 65.0) == energy(MIN_ONSETS, 0.0, 1.0, 65.0)
    assert energy(0.0, 0.0, 1.0, 65.0) < energy(1.0, 0.0, 1.0, 65.0)


@given(
    asked=st.floats(0, 1),
    pace=st.none() | st.floats(1.2, 6.0),
    legato=st.none() | st.floats(0, 1),
    register=st.none() | st.floats(53, 83),
)
def test_solve_energy_meets_the_energy_or_reaches_its_limit(asked, pace, legato, register):
    found_pace, loudness, found_legato = solve_energy(asked, pace, legato, register)
    assert pace is None or found_pace == pace
    assert legato is None or found_legato == legato
    realised = energy(found_pace, loudness, found_legato, 65.0 if register is None else register)
    if abs(loudness) < 10 - 1e-9:
        assert float(realised) == pytest.approx(asked, abs=1e-9)
    elif loudness > 0:
        assert realised <= asked + 1e-9
    else:
        assert realised >= asked - 1e-9


def test_solve_energy_moves_everything_open_along_the_diagonal():
    pace, loudness, legato = solve_energy(np.array([0.0, 0.5, 1.0]))
    assert pace == pytest.approx([1.2, 1.2 * 5**0.5, 6.0])
    assert loudness == pytest.approx([-10.0, 0.0, 10.0])
    assert legato == pytest.approx([1.0, 0.5, 0.0])
