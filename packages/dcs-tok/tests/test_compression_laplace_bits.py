"""The rate that training minimises: the bits of a Laplace distribution."""

from math import exp, log2

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.training import Share
from dcs_tok.compression.probability_tables import laplace_tables
from dcs_tok.compression.symbol_coder import Tables
from dcs_tok.losses.rate import laplace_bits

SHARE = Share(3, 0, 2, 2)


def bits(symbols: object, mean: float, log_scale: float) -> torch.Tensor:
    values = torch.as_tensor(symbols, dtype=torch.float32)
    return laplace_bits(values, torch.full_like(values, mean), torch.full_like(values, log_scale))


@pytest.mark.parametrize("log_scale", [-3.5, -2, -0.5, 0, 1, 3.3, 6])
@pytest.mark.parametrize("mean", [0, 0.3, -0.5, 7.25])
def test_all_integers_together_have_the_probability_1(mean: float, log_scale: float) -> None:
    reach = int(12 * exp(log_scale)) + 20
    assert float((2 ** -bits(range(-reach, reach), mean, log_scale).double()).sum()) == (
        pytest.approx(1, abs=1e-4)
    )


def test_the_bits_are_those_of_the_closed_form() -> None:
    """On the mean: 1 - exp(-1 / 2b). Beyond half a step: a difference of two exponentials / 2."""
    b = exp(0.7)
    assert float(bits([2.0], 2, 0.7)) == pytest.approx(-log2(1 - exp(-0.5 / b)), rel=1e-5)
    mass = (exp(-2.5 / b) - exp(-3.5 / b)) / 2
    assert float(bits([-1.0], 2, 0.7)) == pytest.approx(-log2(mass), rel=1e-5)
    mass = 1 - (exp(-0.2 / b) + exp(-0.8 / b)) / 2
    assert float(bits([2.3], 2, 0.7)) == pytest.approx(-log2(mass), rel=1e-5)


@pytest.mark.parametrize("scale", [0, 8, 20, 32])
def test_training_pays_what_the_tables_charge(scale: int) -> None:
    """At scales and means that have a table of their own."""
    symbols = torch.arange(-6, 7)
    for eighth in (-3, 0, 2):
        paid = bits(symbols, eighth / 8, scale / 8 - 3.5)
        same = torch.full_like(symbols, eighth).numpy()
        charged = Tables(laplace_tables()).bits(same, 0 * same + scale, symbols.numpy())
        worth_coding = charged < 15  # tables hold no probability below 2^-24
        assert worth_coding.any()
        expected = torch.from_numpy(charged)[worth_coding]
        torch.testing.assert_close(paid[worth_coding].double(), expected, rtol=0.02, atol=0.01)


@given(
    symbol=st.one_of(st.floats(-1e6, 1e6), st.floats(-2, 2), st.sampled_from((0.5, -0.5, 0.0))),
    mean=st.floats(-3, 3),
    log_scale=st.floats(-3.5, 6),
)
def test_gradients_are_finite_and_point_to_fewer_bits(
    symbol: float, mean: float, log_scale: float
) -> None:
    values = [torch.tensor([v], requires_grad=True) for v in (symbol, mean, log_scale)]
    paid = laplace_bits(*values)
    assert torch.isfinite(paid).all()
    assert float(paid.detach()) >= 0
    paid.sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in values)
    assert values[0].grad * (values[0] - values[1]).sign() >= 0
    torch.testing.assert_close(values[0].grad, -values[1].grad)
