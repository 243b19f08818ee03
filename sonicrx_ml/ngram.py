"""An n-gram over token ids, the baseline that a network must beat.

Interpolated modified Kneser-Ney smoothing (Chen & Goodman, "An empirical study of smoothing
techniques for language modeling", Computer Speech & Language 13, 1999): the highest order counts
n-grams, every lower order counts how many different tokens an n-gram follows, and the shortest
context falls back on the uniform distribution. A stream is preceded by start symbols, so its first
tokens have a full context too.

An n-gram is one unsigned 64-bit number, its last token the least significant digit, so that fitting
is sorting and scoring is binary search: no loop over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.notes import Floats, Ints

Keys = NDArray[np.uint64]
Stream = NDArray[np.integer]

# Discounts of counts 1, 2 and 3 or more where an order has too few rare n-grams to estimate them
# (KenLM's --discount_fallback).
FALLBACK_DISCOUNTS = np.array([0.5, 1.0, 1.5])


@dataclass(frozen=True, slots=True)
class Order:
    """Smoothed n-grams of one length: `share` + `leftover` x the next shorter order's probability.

    Both are sorted. `share` is what an n-gram keeps of its context's count after the discount;
    `leftover` is what the discounts of a context add up to.
    """

    grams: Keys
    share: Floats
    contexts: Keys
    leftover: Floats


@dataclass(frozen=True, slots=True)
class NGram:
    """A fitted model; `orders[0]` is the unigram."""

    orders: tuple[Order, ...]
    vocabulary_size: int

    def nats(self, stream: Stream) -> Floats:
        """-log probability of each token of a stream, (len(stream),)."""
        self._check(stream)
        return -np.log(self._probabilities(_keys([stream], len(self.orders), self._base)))

    @property
    def _base(self) -> int:
        return self.vocabulary_size + 1

    def _probabilities(self, keys: Keys) -> Floats:
        """Probability of the last token of each n-gram of full length."""
        base = np.uint64(self._base)
        probability = np.full(len(keys), 1.0 / self.vocabulary_size)
        for length, order in enumerate(self.orders, start=1):
            grams = keys % _power(self._base, length)
            share = _find(order.grams, order.share, grams, absent=0.0)
            leftover = _find(order.contexts, order.leftover, grams // base, absent=1.0)
            probability = share + leftover * probability
        return probability

    def _check(self, stream: Stream) -> None:
        if len(stream) and not 0 <= stream.min() <= stream.max() < self.vocabulary_size:
            raise ValueError(
                f"tokens from {stream.min()} to {stream.max()}; "
                f"legal are 0 to {self.vocabulary_size - 1}"
            )


def fit(streams: Sequence[Stream], order: int, vocabulary_size: int) -> NGram:
    """Fit n-grams of up to `order` tokens. Raises `ValueError` where they do not fit 64 bits."""
    if not 1 <= order <= _longest(vocabulary_size):
        raise ValueError(f"order {order}; legal are 1 to {_longest(vocabulary_size)}")
    if not sum(map(len, streams)):
        raise ValueError("no tokens to fit an n-gram on")
    base = vocabulary_size + 1
    grams, counts = np.unique(_keys(streams, order, base), return_counts=True)
    fitted = [_smooth(grams, counts, base)]
    for length in range(order - 1, 0, -1):
        # each longer n-gram is one more token that this shorter one follows
        grams, counts = np.unique(grams % _power(base, length), return_counts=True)
        fitted.insert(0, _smooth(grams, counts, base))
    return NGram(tuple(fitted), vocabulary_size)


def discounts(counts: Ints) -> Floats:
    """What is taken from counts of 1, 2 and 3 or more, (3,), by Chen & Goodman's estimates."""
    seen = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)
    if (seen == 0).any():
        return FALLBACK_DISCOUNTS
    share = seen[0] / (seen[0] + 2 * seen[1])
    steps = np.arange(1, 4)
    estimated = steps - (steps + 1) * share * seen[1:] / seen[:-1]
    legal = (estimated > 0) & (estimated <= steps)
    return estimated if legal.all() else FALLBACK_DISCOUNTS


def _smooth(grams: Keys, counts: Ints, base: int) -> Order:
    taken = np.append(0.0, discounts(counts))[np.minimum(counts, 3)]
    of_gram = grams // np.uint64(base)
    first = np.flatnonzero(np.diff(of_gram, prepend=of_gram[0] + np.uint64(1)))
    total = np.add.reduceat(counts, first).astype(float)
    leftover = np.add.reduceat(taken, first) / total
    share = (counts - taken) / np.repeat(total, np.diff(np.append(first, len(grams))))
    return Order(grams, share, of_gram[first], leftover)


def _keys(streams: Sequence[Stream], order: int, base: int) -> Keys:
    """The n-gram that ends at each token of the streams; `base` - 1 is the start symbol."""
    start = np.full(order - 1, base - 1, dtype=np.min_scalar_type(base - 1))
    padded = np.concatenate([part for stream in streams for part in (start, stream)])
    lengths = [len(stream) for stream in streams]
    first = np.arange(sum(lengths))  # where each n-gram begins
    first += (order - 1) * np.repeat(np.arange(len(streams)), lengths)
    keys = np.zeros(len(first), dtype=np.uint64)
    for ahead in range(order):
        keys = keys * np.uint64(base) + padded[first + ahead].astype(np.uint64)
    return keys


def _find(sorted_keys: Keys, values: Floats, wanted: Keys, absent: float) -> Floats:
    """The value of each wanted key, `absent` where there is none."""
    wanted, inverse = np.unique(wanted, return_inverse=True)  # sorted, the search reads in order
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, values[at], absent)[inverse]


def _power(base: int, exponent: int) -> np.uint64:
    return np.uint64(base**exponent)


def _longest(vocabulary_size: int) -> int:
    """Most tokens whose n-gram fits 64 bits."""
    return next(n for n in range(64, 0, -1) if (vocabulary_size + 1) ** n < 2**64)


__all__ = ["NGram", "discounts", "fit"]
