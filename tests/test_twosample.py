"""A classifier that finds what differs, and nothing where nothing does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sonicrx_ml.notes import Floats
from sonicrx_ml.twosample import COMPOSED, FOLDS, HELD, USED, auc, two_sample

Table = dict[str, Floats]


def noise(seed: int, size: int = 150) -> Table:
    rng = np.random.default_rng(seed)
    widths = {name: 12 if name.endswith("histogram") else 1 for name in USED}
    return {name: rng.normal(size=(size, width)) for name, width in widths.items()}


scored = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=2, max_size=30)


@given(scored)
def test_the_area_is_scikit_learns(rows):
    score, label = np.array(rows, dtype=float).T
    found = auc(np.ones((1, len(rows))), np.column_stack([score, label, np.zeros(len(rows))]))[0]
    if len(set(label.tolist())) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(label, score))


@given(scored, st.data())
def test_a_weight_is_a_repetition(rows, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    values = np.column_stack([np.array(rows, dtype=float), np.zeros(len(rows))])
    repeated = np.repeat(values, counts, axis=0)
    found = auc(np.array([counts], dtype=float), values)[0]
    if len(repeated) == 0:
        assert np.isnan(found)
    else:
        wanted = auc(np.ones((1, len(repeated))), repeated)[0]
        assert found == pytest.approx(wanted, nan_ok=True)


def test_how_long_notes_are_held_can_be_left_aside():
    real, made = noise(1), noise(2)
    made |= {name: made[name] + 3.0 for name in HELD}
    assert two_sample(made, real).auc.low > 0.9
    aside = two_sample(made, real, used=COMPOSED)
    assert 0.4 < aside.auc.value < 0.65
    assert not set(aside.tells) & set(HELD)


def test_folds_are_not_compared():
    """Each fold is in perfect order, on a scale of its own."""
    values = np.array([[1, 0, 0], [2, 1, 0], [-9, 0, 1], [-8, 1, 1]], dtype=float)
    assert auc(np.ones((1, 4)), values)[0] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_same_distribution_cannot_be_told(seed: int):
    found = two_sample(noise(2 * seed), noise(2 * seed + 1))
    assert found.auc.low < 0.5 < found.auc.high
    assert found.auc.n == 300


def test_a_shift_is_told_and_named():
    made, real = noise(0), noise(1)
    made["register"] -= 3
    found = two_sample(made, real)
    assert found.auc.low > 0.85
    name, area = next(iter(found.tells.items()))
    assert name == "register"
    assert area < 0.05
    assert len(found.tells) == sum(values.shape[1] for values in made.values())


def test_too_little_variety_is_told():
    made, real = noise(0), noise(1)
    made["register"] /= 10
    assert two_sample(made, real).auc.low > 0.6


def test_a_class_of_a_histogram_is_named():
    made, real = noise(0), noise(1)
    made["note-length histogram"][:, 3] += 2
    assert next(iter(two_sample(made, real).tells)) == "note-length histogram [3]"


def test_pieces_of_a_work_are_no_help():
    """Every work has its own sound; a classifier that saw some of its pieces would know it."""
    rng = np.random.default_rng(0)
    made, real = noise(0, 200), noise(1, 200)
    groups = np.arange(200) // 20
    for table in (made, real):
        for name, values in table.items():
            table[name] = values / 100 + rng.normal(size=(10, values.shape[1]))[groups]
    together = two_sample(made, real, groups, groups)
    assert together.auc.low < 0.5 < together.auc.high
    assert together.auc.n == 20
    assert two_sample(made, real).auc.low > 0.9


def test_missing_values_stand_at_the_median():
    made, real = noise(0), noise(1)
    for table in (made, real):
        table["mode"][:100] = np.nan
        table["density"][:] = np.nan
    found = two_sample(made, real)
    assert found.auc.low < 0.5 < found.auc.high
    assert "density" not in found.tells


def test_few_groups_are_refused():
    with pytest.raises(ValueError, match=f"2 groups of real pieces; legal are {FOLDS} or more"):
        two_sample(noise(0), noise(1), real_groups=np.arange(150) % 2)
