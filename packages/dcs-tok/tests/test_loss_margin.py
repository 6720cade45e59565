"""The L2 loss with a margin: by hand, against plain loops, and at its two ends."""

from math import inf, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_tok.losses.margin import margin_loss

from .errors import error
from .tiny_models import random_levels

SHAPE = (2, 3, 5, 7, 5, 2)


def random_tokens(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def test_by_hand() -> None:
    """Two patches, three levels of two channels; the second patch has one level."""
    tokens = torch.tensor(
        [[[0.5, -1.5], [2.0, 1.0], [-3.0, 0.0]], [[-2.5, 0.9], [9.0, 9.0], [9.0, 9.0]]]
    ).view(1, 1, 1, 2, 3, 2)
    levels = torch.tensor([[[[3, 1]]]])
    exceeding = [0.5**2, 1.0**2, 2.0**2, 1.5**2]
    assert margin_loss(tokens, levels, 1.0).item() == pytest.approx(sum(exceeding) / 8)


@given(seed=st.integers(0, 10**6), margin=st.floats(0, 5))
def test_against_plain_loops(seed: int, margin: float) -> None:
    tokens, levels = random_tokens(seed), random_levels(*SHAPE[:4], seed=seed)
    squares = [
        max(abs(value) - margin, 0) ** 2
        for patch, count in zip(tokens.flatten(0, 3), levels.flatten(), strict=True)
        for value in patch[:count].flatten().tolist()
    ]
    expected = sum(squares) / len(squares)
    assert margin_loss(tokens, levels, margin).item() == pytest.approx(expected, rel=1e-12)


def test_margin_zero_is_plain_l2_and_infinity_is_none() -> None:
    tokens, levels = random_tokens(1).requires_grad_(), torch.full(SHAPE[:4], SHAPE[4])
    plain = margin_loss(tokens, levels, 0.0)
    torch.testing.assert_close(plain, tokens.square().mean(), rtol=1e-14, atol=0)
    none = margin_loss(tokens, levels, inf)
    assert none.item() == 0
    assert not torch.autograd.grad(none, tokens)[0].any()


def test_inactive_tokens_do_not_count() -> None:
    tokens, levels = random_tokens(2), random_levels(*SHAPE[:4])
    inactive = torch.arange(SHAPE[4]) >= levels[..., None]
    changed = tokens.clone()
    changed[inactive] = 1e6
    changed.requires_grad_()
    loss = margin_loss(changed, levels)
    assert torch.equal(loss, margin_loss(tokens, levels))
    (gradient,) = torch.autograd.grad(loss, changed)
    assert not gradient[inactive].any()
    assert gradient[~inactive].any()


def test_gradients_are_those_of_finite_differences() -> None:
    tokens, levels = random_tokens(3)[:1, :1, :2, :3], random_levels(1, 1, 2, 3)
    assert torch.autograd.gradcheck(
        lambda moved: margin_loss(moved, levels, 0.7), tokens.clone().requires_grad_()
    )


@pytest.mark.parametrize("margin", [-0.5, -inf, nan])
def test_margins_that_are_none(margin: float) -> None:
    message = f"`margin` must be 0 or more, but is {margin}. Use 0 for plain L2, infinity for none."
    with error(message):
        margin_loss(random_tokens(), random_levels(*SHAPE[:4]), margin)


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 3, 5, 7), (2, 3, 5, 7, 5)])
def test_levels_of_another_shape(shape: tuple[int, ...]) -> None:
    message = (
        "`tokens` must have the shape (b, t, h, w, n, d) and `levels` (b, t, h, w), but they "
        f"have {SHAPE} and {shape}. Pass both of one `Latents`."
    )
    with error(message):
        margin_loss(random_tokens(), random_levels(*shape))
