"""The reconstruction loss: values by hand, gradients of mean PSNR."""

from math import log

import pytest
import torch

from dcs_common import psnr
from dcs_tok.losses.reconstruction import reconstruction_loss

from .errors import error
from .tiny_models import random_pixels

SHAPES = [(5, 3, 7, 11), (5, 3, 2, 7, 11)]


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_is_the_mean_of_squares(shape: tuple[int, ...]) -> None:
    target = random_pixels(*shape)
    errors = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    reconstruction = target + errors.view(5, *[1] * (len(shape) - 1))
    loss = reconstruction_loss(reconstruction, target)
    assert loss.item() == pytest.approx((0.01 + 0.04 + 0.09 + 0.16) / 5, abs=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_l2_is_the_mean_logarithm_over_samples(shape: tuple[int, ...]) -> None:
    """Half of each sample is off by its own error, so the mean within samples matters."""
    target = random_pixels(*shape, seed=1)
    reconstruction = target.clone()
    errors = [0.0, 0.1, 0.2, 0.3, 0.4]
    for sample, size in zip(reconstruction, errors, strict=True):
        sample[1] += size
    loss = reconstruction_loss(reconstruction, target, "log_l2", floor=1e-3)
    expected = sum(log(size**2 / 3 + 1e-3) for size in errors) / 5
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_log_l2_has_the_gradient_of_mean_psnr() -> None:
    target = random_pixels(5, 3, 7, 11, seed=2)
    # Between 10 and 50 dB: an easy sample's PSNR counts as much as a hard one's.
    sizes = torch.logspace(-2.5, -0.5, 5, dtype=torch.float64).view(5, 1, 1, 1)
    noise = random_pixels(*target.shape, seed=3) - 0.5
    reconstruction = (target + sizes * noise).requires_grad_()
    loss = reconstruction_loss(reconstruction, target, "log_l2", floor=0.0)
    mean_psnr = -10 * ((reconstruction - target) ** 2).mean(dim=(1, 2, 3)).log10().mean()
    assert mean_psnr.item() == pytest.approx(
        sum(psnr(a, b) for a, b in zip(reconstruction, target, strict=True)) / 5
    )
    gradients = [torch.autograd.grad(value, reconstruction)[0] for value in (loss, mean_psnr)]
    torch.testing.assert_close(gradients[0], gradients[1] * -log(10) / 10, rtol=1e-12, atol=0)


def test_the_default_floor_barely_matters_below_40_db_and_ends_at_60() -> None:
    target = random_pixels(1, 3, 7, 11, seed=4)
    at_40 = (target + 0.01).requires_grad_()
    with_floor, without = (
        torch.autograd.grad(reconstruction_loss(at_40, target, "log_l2", **floor), at_40)[0]
        for floor in ({}, {"floor": 0.0})
    )
    torch.testing.assert_close(with_floor, without, rtol=0.01, atol=0)
    equal = target.clone().requires_grad_()
    loss = reconstruction_loss(equal, target, "log_l2")
    assert loss.item() == pytest.approx(log(1e-6))
    assert not torch.autograd.grad(loss, equal)[0].any()


@pytest.mark.parametrize("kind", ["l2", "log_l2"])
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    target = random_pixels(2, 3, 5, 7, seed=5)
    reconstruction = random_pixels(2, 3, 5, 7, seed=6).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda moved: reconstruction_loss(moved, target, kind), reconstruction
    )


def test_shapes_must_agree() -> None:
    message = (
        "Reconstruction and target must have one shape, but have (2, 3, 7, 11) and (1, 3, 7, 11). "
        "Decode at the target's size and frame rate."
    )
    with error(message):
        reconstruction_loss(torch.zeros(2, 3, 7, 11), torch.zeros(1, 3, 7, 11))


def test_unknown_kinds() -> None:
    with error("`kind` must be 'l2' or 'log_l2', but is 'l1'. Choose one of them."):
        reconstruction_loss(torch.zeros(2, 3, 7, 11), torch.zeros(2, 3, 7, 11), "l1")
