"""RMSNorm against its formula."""

import pytest
import torch
from torch import Tensor

from dcs_common.norms import RMSNorm


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def norm() -> RMSNorm:
    norm = RMSNorm(11).double()
    with torch.no_grad():
        norm.weight.copy_(drawn(11, seed=0))
    return norm


def test_values_and_gradients_are_the_formulas(norm: RMSNorm) -> None:
    x, cotangent = drawn(3, 5, 11, seed=1).requires_grad_(), drawn(3, 5, 11, seed=2)
    plain = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    assert (norm(x) - plain).abs().max() < 1e-12
    of = (x, norm.weight)
    for ours, theirs in zip(
        torch.autograd.grad(norm(x), of, cotangent),
        torch.autograd.grad(plain, of, cotangent),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-9


def test_the_scale_of_a_token_is_removed_and_zero_stays_zero(norm: RMSNorm) -> None:
    x = drawn(3, 11, seed=1)
    assert (norm(1e4 * x) - norm(x)).abs().max() < 1e-5
    assert not norm(torch.zeros(3, 11, dtype=torch.float64)).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gain_follows_the_inputs_type(dtype: torch.dtype) -> None:
    x = drawn(3, 11, seed=1)
    out = RMSNorm(11)(x.to(dtype))
    assert out.dtype == dtype
    assert (out.double() - RMSNorm(11).double()(x)).abs().max() < 0.05
