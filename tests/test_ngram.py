"""The n-gram baseline: hand-computed, a proper distribution, and equal to a slow, obvious one."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml import ngram

VOCABULARY = 4
streams_of_tokens = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), max_size=25), min_size=1, max_size=5
).filter(any)


def as_arrays(streams):
    return [np.array(stream, dtype=np.uint16) for stream in streams]


def slow_probability(streams, order, context, token):
    """Chen & Goodman 1999, eq. 11 and its continuation counts, n-gram by n-gram."""
    start = VOCABULARY
    counts = Counter(
        tuple(([start] * (order - 1) + list(stream))[i : i + order])
        for stream in streams
        for i in range(len(stream))
    )
    by_order = {order: counts}
    for length in range(order - 1, 0, -1):
        followed = defaultdict(set)
        for gram in by_order[length + 1]:
            followed[gram[1:]].add(gram[0])
        by_order[length] = Counter({gram: len(before) for gram, before in followed.items()})

    def probability(history):
        length = len(history) + 1
        below = 1 / VOCABULARY if length == 1 else probability(history[1:])
        here = {gram: c for gram, c in by_order[length].items() if gram[:-1] == history}
        if not here:
            return below
        taken = ngram.discounts(np.array(list(by_order[length].values())))
        total = sum(here.values())
        left = sum(taken[min(c, 3) - 1] for c in here.values())
        kept = here.get((*history, token), 0)
        kept -= taken[min(kept, 3) - 1] if kept else 0
        return (kept + left * below) / total

    padded = [start] * (order - 1) + list(context)
    return probability(tuple(padded[len(padded) - order + 1 :]))


def test_a_bigram_by_hand():
    # a b a: every count is 1 or 2, so the discounts are the fallback's .5 and 1. `a` follows the
    # start and b, b follows a: p(a) = (2 - 1)/3 + 1.5/3 x 1/2 = 7/12, p(b) = 5/12.
    # p(a | start) = .5 + .5 p(a) = 19/24, p(b | a) = .5 + .5 p(b) = 17/24, p(a | a) = .5 p(a).
    model = ngram.fit([np.array([0, 1, 0])], order=2, vocabulary_size=2)
    np.testing.assert_allclose(
        np.exp(-model.nats(np.array([0, 1, 0, 0]))), [19 / 24, 17 / 24, 19 / 24, 7 / 24]
    )


def test_discounts_follow_the_published_estimates():
    # n1 = 4, n2 = 2, n3 = n4 = 1: Y = 4/8; 1 - 2Y 2/4, 2 - 3Y 1/2, 3 - 4Y 1/1
    np.testing.assert_allclose(
        ngram.discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])), [0.5, 1.25, 1.0]
    )


@pytest.mark.parametrize("counts", [[7, 9, 30], [1] * 4 + [2] * 2 + [3] * 5 + [4]])
def test_discounts_that_cannot_be_estimated_fall_back(counts):
    # the second would take 2 - 3 x .5 x 5/2 < 0 from a count of 2
    np.testing.assert_array_equal(ngram.discounts(np.array(counts)), [0.5, 1.0, 1.5])


@given(streams_of_tokens, st.integers(1, 4), st.lists(st.integers(0, VOCABULARY - 1), max_size=5))
def test_probabilities_sum_to_one_after_any_context(streams, order, context):
    model = ngram.fit(as_arrays(streams), order, VOCABULARY)
    nexts = [np.array([*context, token]) for token in range(VOCABULARY)]
    assert sum(np.exp(-model.nats(stream)[-1]) for stream in nexts) == pytest.approx(1)


@given(streams_of_tokens, st.integers(1, 4), st.lists(st.integers(0, VOCABULARY - 1), max_size=8))
def test_equals_the_slow_implementation(streams, order, heard):
    found = np.exp(-ngram.fit(as_arrays(streams), order, VOCABULARY).nats(np.array(heard, int)))
    slow = [slow_probability(streams, order, heard[:i], token) for i, token in enumerate(heard)]
    np.testing.assert_allclose(found, slow)


def test_learns_what_repeats():
    rng = np.random.default_rng(1)
    stream = np.tile(rng.integers(0, 50, 10), 100)
    model = ngram.fit([stream], order=3, vocabulary_size=50)
    assert model.nats(stream)[10:].mean() < 0.05
    assert model.nats(rng.integers(0, 50, 1000)).mean() > np.log(50)


def test_the_longest_order_of_our_vocabulary_fits():
    stream = np.array([332, 332, 332, 0])  # the largest keys there are
    model = ngram.fit([stream], order=7, vocabulary_size=333)
    assert np.isfinite(model.nats(stream)).all()


def test_refuses_what_does_not_fit():
    stream = np.array([0, 1, 2])
    with pytest.raises(ValueError, match="order 8; legal are 1 to 7"):
        ngram.fit([stream], order=8, vocabulary_size=333)
    with pytest.raises(ValueError, match="no tokens"):
        ngram.fit([stream[:0]], order=2, vocabulary_size=3)
    model = ngram.fit([stream], order=2, vocabulary_size=3)
    with pytest.raises(ValueError, match="tokens from 0 to 3; legal are 0 to 2"):
        model.nats(np.array([0, 3]))
