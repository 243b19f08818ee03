"""The transformer: causal, and moved by every condition."""

from __future__ import annotations

import pytest
import torch

from sonicrx_ml import model
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.model import Composer

VOCABULARY, SIZES = 50, (4, 3, 5)
BATCH, TOKENS, BARS = 2, 24, 4


@pytest.fixture
def composer() -> Composer:
    torch.manual_seed(3)
    config = ModelConfig(width=32, layers=3, heads=2, context=64)
    made = Composer(config, VOCABULARY, SIZES).double().eval()
    for weight in made.parameters():
        weight.data *= 4.0  # far from uniform logits
    return made


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    """ids, bar of each token (six a bar) and conditions."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(VOCABULARY, (BATCH, TOKENS), generator=generator)
    bar = torch.arange(TOKENS).div(6, rounding_mode="floor").expand(BATCH, -1)
    conditions = torch.stack(
        [torch.randint(size, (BATCH, BARS), generator=generator) for size in SIZES], dim=-1
    )
    return ids, bar, conditions


def test_a_token_depends_on_itself_and_those_before_it_only(composer, inputs):
    ids, bar, conditions = inputs
    leaf = composer.tokens(ids).detach().requires_grad_()
    composer.tokens.register_forward_hook(lambda *_: leaf)
    at = 10
    composer(ids, bar, conditions)[:, at].square().sum().backward()
    felt = leaf.grad.abs().sum(dim=-1)
    assert (felt[:, : at + 1] > 0).all()
    assert (felt[:, at + 1 :] == 0).all()


def test_a_bar_s_conditions_reach_that_bar_and_later_ones_only(composer, inputs):
    ids, bar, conditions = inputs
    changed = conditions.clone()
    changed[:, 2] = (changed[:, 2] + 1) % torch.tensor(SIZES)
    before, after = (composer(ids, bar, given) for given in (conditions, changed))
    moved = (before - after).abs().amax(dim=-1)
    assert (moved[:, :12] == 0).all()
    assert (moved[:, 12:] > 1e-6).all()


@pytest.mark.parametrize("which", range(len(SIZES)))
def test_every_value_of_every_condition_tells_something_else(composer, inputs, which):
    ids, bar, conditions = inputs
    found = []
    for value in range(SIZES[which]):
        given = conditions.clone()
        given[..., which] = value
        found.append(composer(ids, bar, given)[:, 0])
    for i, one in enumerate(found):
        assert all((one - other).abs().amax() > 1e-6 for other in found[:i])


def test_dropout_acts_in_training_only(inputs):
    config = ModelConfig(width=32, layers=2, heads=2, context=64, dropout=0.5)
    composer = Composer(config, VOCABULARY, SIZES).double()
    assert not torch.equal(composer(*inputs), composer(*inputs))
    composer.eval()
    assert torch.equal(composer(*inputs), composer(*inputs))


def test_dropout_is_shared_by_the_tokens_of_a_stream():
    config = ModelConfig(width=32, layers=1, heads=2, context=64, dropout=0.5)
    block = Composer(config, VOCABULARY, SIZES).blocks[0].train()
    dropped = block._drop(torch.ones(3, 8, 32))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_the_weights_begin_small_and_what_ends_a_branch_smaller(composer):
    config = ModelConfig(width=256, layers=8, heads=4, context=8)
    weights = dict(Composer(config, VOCABULARY, SIZES).named_parameters())
    spread = {
        name: float(weight.detach().std()) for name, weight in weights.items() if weight.dim() == 2
    }
    for name, found in spread.items():
        residual = name.endswith(("mix.weight", "down.weight"))
        assert found == pytest.approx(0.02 / 4 if residual else 0.02, rel=0.1), name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 30, "heads": 4}, r"model.width=30; legal are heads 4 x an even number"),
        ({"width": 6, "heads": 2}, r"model.width=6; legal are heads 2 x an even number"),
        ({"heads": 0}, r"model.heads=0; legal are 1 and more"),
        ({"context": 0}, r"model.context=0; legal are 1 and more"),
        ({"dropout": 1.0}, r"model.dropout=1.0; legal are 0 to below 1"),
    ],
)
def test_refuses_impossible_sizes(values, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**({"width": 32, "layers": 1, "heads": 2, "context": 8} | values))


def test_the_shapes_of_the_weights_are_known_without_it(composer):
    named = {name: tuple(weight.shape) for name, weight in composer.state_dict().items()}
    assert composer.config.shapes(VOCABULARY, SIZES) == named


def test_a_token_gets_its_own_bar_s_vector():
    """As indexing would give it, values and gradients; padding may name bars that are not there."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 3, 4, generator=draw, requires_grad=True)
    bar = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 1, 1, 2]])
    weight = torch.randn(2, 5, 4, generator=draw)
    index = bar[..., None].expand(-1, -1, 4)
    wanted, found = vectors.gather(1, index), model._of_bar(vectors, bar)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    slow, fast = (torch.autograd.grad((weight * x).sum(), vectors)[0] for x in (wanted, found))
    torch.testing.assert_close(fast, slow)
    assert (model._of_bar(vectors, torch.full_like(bar, 3)) == 0).all()
