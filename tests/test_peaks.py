"""True peak against the cases of EBU Tech 3341, and against oversampling everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from sonicrx_ml import peaks

RATE = 48_000


@pytest.mark.parametrize(
    ("amplitude", "divisor", "degrees", "expected"),
    [(0.5, 4, 0, -6), (0.5, 4, 45, -6), (0.5, 6, 60, -6), (0.5, 8, 67.5, -6), (1.41, 4, 45, 3)],
)
def test_true_peak_tech_3341_cases_15_to_19(amplitude, divisor, degrees, expected):
    n = np.arange(RATE)
    sine = amplitude * np.sin(2 * np.pi * n / divisor + np.deg2rad(degrees))
    edges = np.minimum(1.0, np.minimum(n, n[::-1]) / 2400)  # 50 ms fades: no click to measure
    measured = peaks.true_peak(sine * edges, RATE)
    assert expected - 0.4 <= measured <= expected + 0.2


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_true_peak_tech_3341_cases_20_to_23(offset):
    """A band-limited burst of exactly 0 dBTP made at 4 x 48 kHz, decimated at each offset."""
    t = np.arange(-4096, 4096) / (4 * RATE)
    burst = np.cos(2 * np.pi * RATE / 6 * t) * np.exp(-((t / 3e-4) ** 2))
    measured = peaks.true_peak(burst[offset::4], RATE)
    assert -0.4 <= measured <= 0.2


@pytest.mark.parametrize("rate", [8_000, 192_000, 384_000])
def test_true_peak_at_the_ends_of_the_legal_rates(rate):
    """A sine of half of full scale has a peak of -6.02 dBTP."""
    sine = 0.5 * np.sin(2 * np.pi * 997 / rate * np.arange(rate))
    assert peaks.true_peak(sine, rate) == pytest.approx(20 * np.log10(0.5), abs=0.1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), crest=st.floats(1.0, 6.0))
def test_true_peak_that_skips_blocks_equals_oversampling_everything(seed, crest):
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal((2, 5000)) * np.abs(rng.standard_normal((2, 5000))) ** crest
    factor = peaks.PEAK_RATE // RATE
    every = signal.upfirdn(peaks._interpolator(factor), sound, up=factor, axis=1)
    expected = 20 * np.log10(max(np.abs(every).max(), np.abs(sound).max()))
    assert peaks.true_peak(sound, RATE) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), blocks=st.integers(1, 6), odd=st.integers(0, 127))
def test_no_value_between_samples_exceeds_its_blocks_bound(seed, blocks, odd):
    rng = np.random.default_rng(seed)
    sound = np.sign(rng.standard_normal((2, 128 * blocks + odd)))
    bounds = peaks.peak_bounds(sound, 4)
    found = peaks.peaks_between(sound, np.arange(len(bounds)), 4)
    assert found.shape == (len(bounds), peaks.PEAK_BLOCK)
    assert (found.max(axis=1) <= bounds + 1e-12).all()
    np.testing.assert_array_less(np.abs(sound).max(axis=0), found.ravel()[: sound.shape[1]] + 1e-9)


def test_silence_has_no_peak_and_integers_are_refused():
    assert peaks.true_peak(np.zeros((2, 4 * RATE)), RATE) == -np.inf
    with pytest.raises(ValueError, match="type int16; legal are floats"):
        peaks.true_peak(np.zeros(RATE, dtype=np.int16), RATE)
