"""SwiGLU against its formula, and Table 3's hidden widths."""

import pytest
import torch
from torch import Tensor

from dcs_common.feed_forward import SwiGLU, swiglu_hidden


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def layer() -> SwiGLU:
    layer = SwiGLU(7).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=seed))
    return layer


def plain(layer: SwiGLU, x: Tensor) -> Tensor:
    """out(silu(x A) * (x B)), with A in the first rows of the joint matrix."""
    hidden = swiglu_hidden(7)
    weight, bias = layer.gate_and_value.weight, layer.gate_and_value.bias
    gate = x @ weight[:hidden].T + bias[:hidden]
    value = x @ weight[hidden:].T + bias[hidden:]
    return (gate / (1 + torch.exp(-gate)) * value) @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize(("width", "hidden"), [(256, 682), (768, 2048), (1152, 3072), (7, 18)])
def test_hidden_widths_are_those_of_table_3(width: int, hidden: int) -> None:
    assert swiglu_hidden(width) == hidden
    with torch.device("meta"):
        layer = SwiGLU(width)
    assert layer.gate_and_value.weight.shape == (2 * hidden, width)
    assert layer.out.weight.shape == (width, hidden)


def test_values_and_gradients_are_the_formulas(layer: SwiGLU) -> None:
    x, cotangent = drawn(3, 5, 7, seed=11).requires_grad_(), drawn(3, 5, 7, seed=12)
    of = (x, *layer.parameters())
    fast, slow = layer(x), plain(layer, x)
    assert (fast - slow).abs().max() < 1e-9
    for ours, theirs in zip(
        torch.autograd.grad(fast, of, cotangent),
        torch.autograd.grad(slow, of, cotangent),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-9


def test_gradients_of_both_orders_are_right(layer: SwiGLU) -> None:
    x = drawn(2, 7, seed=11).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_the_gradient_keeps_one_tensor_of_the_gated_layer(layer: SwiGLU) -> None:
    """Gate and value together, once; neither silu(gate) nor a second copy."""
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(drawn(5, 7, seed=11).requires_grad_())
    assert sorted(shape for shape in saved if shape[0] == 5) == [(5, 7), (5, 18), (5, 36)]


def test_extreme_inputs_stay_finite(layer: SwiGLU) -> None:
    x = 1e3 * drawn(5, 7, seed=11).requires_grad_()
    out = layer.float()(x.float())
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all()
    assert gradient.isfinite().all()
