"""Layers with weights for every level are separate layers, one for each."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dcs_dit.level_linear import LevelLinearIn, LevelLinearOut

from .small_dit import CLOSE, lively, randn

NUM, CHANNELS, WIDTH = 5, 3, 11
ASSIGNMENTS = st.lists(st.integers(0, NUM - 1), min_size=1, max_size=17)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _in() -> tuple[LevelLinearIn, list[nn.Linear]]:
    together = lively(LevelLinearIn(NUM, CHANNELS, WIDTH)).double()
    parts = together.weight.unflatten(1, (NUM, CHANNELS + 1)).unbind(1)
    return together, [_linear(part[:, :-1], part[:, -1]) for part in parts]


def _out() -> tuple[LevelLinearOut, list[nn.Linear]]:
    together = lively(LevelLinearOut(NUM, WIDTH, CHANNELS)).double()
    weights = together.linear.weight.unflatten(0, (NUM, CHANNELS))
    biases = together.linear.bias.unflatten(0, (NUM, CHANNELS))
    return together, [_linear(*part) for part in zip(weights, biases, strict=True)]


LAYERS = pytest.mark.parametrize(
    ("pair", "width_in"), [(_in, CHANNELS), (_out, WIDTH)], ids=["in", "out"]
)


@LAYERS
@given(assigned=ASSIGNMENTS)
def test_each_token_passes_through_its_level_s_layer(
    pair: object, width_in: int, assigned: list[int]
) -> None:
    together, alone = pair()  # type: ignore[operator]
    x = randn(len(assigned), width_in)
    found = together(x, torch.tensor(assigned))
    expected = torch.stack([alone[level](row) for level, row in zip(assigned, x, strict=True)])
    torch.testing.assert_close(found, expected, **CLOSE)


@LAYERS
@given(assigned=ASSIGNMENTS)
def test_weights_learn_from_their_level_s_tokens_alone(
    pair: object, width_in: int, assigned: list[int]
) -> None:
    together, alone = pair()  # type: ignore[operator]
    x = randn(len(assigned), width_in)
    together(x, torch.tensor(assigned)).square().sum().backward()
    torch.stack(
        [alone[level](row) for level, row in zip(assigned, x, strict=True)]
    ).square().sum().backward()
    if isinstance(together, LevelLinearIn):
        parts = together.weight.grad.unflatten(1, (NUM, CHANNELS + 1)).unbind(1)
        found = [(part[:, :-1], part[:, -1]) for part in parts]
    else:
        weights = together.linear.weight.grad.unflatten(0, (NUM, CHANNELS))
        biases = together.linear.bias.grad.unflatten(0, (NUM, CHANNELS))
        found = list(zip(weights, biases, strict=True))
    for level, (weight, bias) in enumerate(found):
        if level in assigned:
            torch.testing.assert_close(weight, alone[level].weight.grad, **CLOSE)
            torch.testing.assert_close(bias, alone[level].bias.grad, **CLOSE)
            assert weight.any()
        else:
            assert not weight.any()
            assert not bias.any()


def test_the_input_starts_at_the_scale_of_its_tokens_and_the_output_at_zero() -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        first, last = LevelLinearIn(NUM, 16, 256), LevelLinearOut(NUM, WIDTH, CHANNELS)
        level = torch.arange(NUM).repeat(200)
        out = first(torch.randn(len(level), 16), level)
    for i in range(NUM):
        assert float(out[level == i].std()) == pytest.approx(1, rel=0.1)
    assert not last(torch.randn(NUM, WIDTH), torch.arange(NUM)).any()
