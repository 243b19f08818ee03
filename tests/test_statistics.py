"""Bootstrap intervals and weighted statistics against the textbook and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from sonicrx_ml.statistics import bootstrap, mean, ratio, spearman

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12)


@settings(max_examples=50)
@given(pairs, st.data())
def test_spearman_by_weights_is_scipys_on_repeated_items(values, data):
    values = np.array(values, dtype=float)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    repeated = np.repeat(values, counts, axis=0)
    found = spearman(np.array([counts], dtype=float), values)[0] if sum(counts) else np.nan
    if len(repeated) < 2 or (np.ptp(repeated, axis=0) == 0).any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(*repeated.T).statistic)


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(10, 3, 400)
    found = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (found.value - half, found.value + half), abs=0.05
    )
    assert found.n == 400


def test_the_basic_interval_takes_the_lean_of_resampling_back():
    """The largest of some values can only fall in resamples: percentiles lie below it."""

    def spread(weights, values):
        return np.where(weights > 0, values, 0.0).max(axis=1)

    values = np.random.default_rng(0).uniform(0, 1, 30)
    below, above = (bootstrap(values, spread, basic=basic) for basic in (False, True))
    assert below.high == below.value == above.value
    assert (above.low, above.high) == pytest.approx((below.value, 2 * below.value - below.low))


def test_items_of_a_group_are_not_independent():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 50)
    grouped, alone = bootstrap(values, groups=np.repeat(np.arange(20), 50)), bootstrap(values)
    assert grouped.n == 20
    assert grouped.high - grouped.low > 5 * (alone.high - alone.low)


def test_a_ratio_is_of_sums():
    assert bootstrap([[6.0, 1.0], [2.0, 3.0]], ratio).value == 2.0


def test_what_is_not_defined_is_none():
    assert np.isnan(bootstrap([]).value)
    assert np.isnan(bootstrap([[1.0, 2.0], [1.0, 5.0]], spearman).value)
    assert str(bootstrap([])) == "-"


def test_json_has_no_nan():
    assert bootstrap([]).to_dict() == {"value": None, "low": None, "high": None, "n": 0}
    assert bootstrap([2.0]).to_dict() == {"value": 2.0, "low": 2.0, "high": 2.0, "n": 1}


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).random(30)
    assert bootstrap(values, mean, seed=3) == bootstrap(values, mean, seed=3)
    assert bootstrap(values, mean, seed=3) != bootstrap(values, mean, seed=4)
