"""Compiled blocks: the same results and gradients, and nothing compiled anew for other input."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dcs_dit import DCSDiT

from .small_dit import fresh, lively

# torch.compile itself does what torch warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


class Graphs:
    """A backend that counts what it is given and runs it as it is."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, module: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        self.count += 1
        return module.forward


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def step(dit: DCSDiT, seed: int, shape: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """Return the velocity and gradients of latents and level counts drawn by a seed."""
    generator = torch.Generator().manual_seed(seed)
    n, c = dit.config.num_levels, dit.config.latent_channels
    noised = torch.randn(*shape, n, c, dtype=torch.float64, generator=generator)
    time = torch.rand(shape[0], dtype=torch.float64, generator=generator)
    levels = torch.randint(1, n + 1, shape[:1], generator=generator)
    labels = torch.randint(0, len(dit.config.labels), shape[:1], generator=generator)
    velocity = dit(noised, time, levels, labels)
    dit.zero_grad()
    velocity.square().mean().backward()
    return velocity.detach(), [p.grad for p in dit.parameters() if p.grad is not None]


def test_compiled_blocks_give_the_same_at_any_grid_and_level_counts() -> None:
    plain = lively(fresh()).double()
    compiled = DCSDiT(plain.config).double()
    compiled.load_state_dict(plain.state_dict())
    graphs = Graphs()
    compiled.compile(backend=graphs)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    seen = []
    shapes = [(5, 1, 3, 4), (4, 1, 4, 4), (7, 2, 2, 3), (3, 1, 5, 2)]
    for seed, shape in enumerate(shapes):
        ours, gradients = step(compiled, seed, shape)
        expected, wanted = step(plain, seed, shape)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
        for one, other in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        seen.append(graphs.count)
    assert seen[0] > 0
    assert seen[1:] == [seen[1]] * 3  # the second grid shows what is dynamic
