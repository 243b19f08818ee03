"""The composer a token at a time: the same as at once, for every stream by itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sonicrx_ml import inference
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.inference import Decoder
from sonicrx_ml.model import Composer

VOCABULARY, SIZES = 50, (4, 3, 5)
BATCH, TOKENS, BARS = 3, 40, 4
CONFIG = ModelConfig(width=32, layers=3, heads=2, context=64)


def made(config: ModelConfig = CONFIG) -> Composer:
    torch.manual_seed(3)
    composer = Composer(config, VOCABULARY, SIZES).eval()
    for weight in composer.parameters():
        weight.data *= 4.0  # far from uniform logits
    for name, weight in composer.named_parameters():
        if "norm" in name:
            weight.data *= torch.linspace(0.2, 1.0, len(weight))  # no scale like another
    return composer


@pytest.fixture
def inputs() -> tuple[np.ndarray, ...]:
    """ids, bar of each token (ten a bar) and conditions."""
    rng = np.random.default_rng(4)
    ids = rng.integers(0, VOCABULARY, (BATCH, TOKENS))
    bar = np.tile(np.arange(TOKENS) // 10, (BATCH, 1))
    conditions = np.stack([rng.integers(0, size, (BATCH, BARS)) for size in SIZES], axis=-1)
    return ids, bar, conditions


def decoder_of(composer, threads=1):
    weights = {name: weight.numpy() for name, weight in composer.state_dict().items()}
    return Decoder(composer.config, weights, SIZES, threads)


def at_once(composer, inputs):
    with torch.inference_mode():
        return composer(*map(torch.from_numpy, inputs)).numpy()


def by_steps(composer, inputs, threads=1):
    """Logits (B, T, V), one token at a time."""
    ids, bar, conditions = inputs
    decoder = decoder_of(composer, threads)
    injected, cache = decoder.inject(conditions), decoder.new_cache(len(ids))
    rows = np.arange(len(ids))
    steps = [
        decoder.step(ids[:, t], injected[:, rows, bar[:, t]], cache).copy()
        for t in range(ids.shape[1])
    ]
    return np.stack(steps, axis=1)


def test_steps_equal_the_whole_at_once(inputs):
    composer = made()
    wanted = at_once(composer, inputs)
    assert np.ptp(wanted) > 5
    np.testing.assert_allclose(by_steps(composer, inputs), wanted, atol=2e-4)


def test_a_full_cache_attends_to_the_context_in_every_layer(inputs, monkeypatch):
    context = 7
    monkeypatch.setattr(inference, "SPARE", 5)  # forgets again and again
    short = made(dataclasses.replace(CONFIG, context=context))
    stepped = by_steps(short, inputs)
    age = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    band = (age >= 0) & (age < context)
    attend = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, k, v, is_causal: attend(q, k, v, band)
    )
    np.testing.assert_allclose(stepped, at_once(made(), inputs), atol=2e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_has_the_same_bits_alone_and_in_a_batch(inputs, threads):
    composer = made()
    together = by_steps(composer, inputs)
    for row in range(BATCH):
        alone = by_steps(composer, [given[row : row + 1] for given in inputs], threads)
        np.testing.assert_array_equal(alone[0], together[row])


def test_streams_wait_and_are_copied_and_dropped_without_a_trace(inputs):
    """Stream 0 steps always; 1 every second time; 2 becomes a copy of 0 half-way; 1 is dropped."""
    composer = made()
    whole = by_steps(composer, inputs)
    ids, bar, conditions = inputs
    decoder = decoder_of(composer)
    injected, cache = decoder.inject(conditions), decoder.new_cache(BATCH)
    done = np.zeros(BATCH, dtype=np.int64)
    for turn in range(20):
        live = np.array([True, turn % 2 == 0, True])
        now = injected[:, np.arange(BATCH), bar[np.arange(BATCH), done]]
        found = decoder.step(ids[np.arange(BATCH), done], now, cache, live)
        for row in np.flatnonzero(live):
            np.testing.assert_array_equal(found[row], whole[row, done[row]])
        done += live
    cache.copy(0, np.array([2]))
    cache.keep(np.array([True, False, True]))
    for t in range(20, 30):
        now = injected[:, [0, 0], bar[0, t]]
        found = decoder.step(ids[[0, 0], t], now, cache)
        np.testing.assert_array_equal(found, whole[[0, 0], t])


def test_positions_far_out_are_exact():
    cos, sin = inference._turns(np.array([0, 10**9]), 4)
    np.testing.assert_allclose(cos[:, 0], [1.0, np.cos(1e9)], atol=1e-7)
    np.testing.assert_allclose(sin[1], np.sin([1e9, 1e7]), atol=1e-7)
