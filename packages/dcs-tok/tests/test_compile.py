"""Compiled networks: the same results and gradients, and nothing compiled anew for other input."""

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dcs_common import sample_level_map
from dcs_tok import DCSTok

from .tiny_models import CONFIGS, fresh, perturbed, random_pixels

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


def step(tok: DCSTok, seed: int, size: int, patches: int) -> tuple[Tensor, list[Tensor]]:
    """Return the pixels and gradients of a step on pictures and level counts drawn by a seed."""
    pixels = random_pixels(2, 3, size, size, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, patches, patches)
    levels = sample_level_map(shape, tok.config.num_levels, generator=generator)
    rebuilt, _ = tok(pixels, None, levels, patches)
    tok.zero_grad()
    rebuilt.square().mean().backward()
    return rebuilt.detach(), [p.grad for p in tok.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("name", "recompute"), [("paper", True), ("nano_transformer", False), ("nano", True)]
)
def test_compiled_parts_give_the_same_at_any_size_and_level_map(name: str, recompute: bool) -> None:
    plain = perturbed(CONFIGS[name]()).train()
    compiled = DCSTok(plain.config).to(next(plain.parameters())).train()
    compiled.load_state_dict(plain.state_dict())
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    compiled.checkpoint_activations = recompute
    graphs = Graphs()
    compiled.compile(backend=graphs)
    seen = []
    for seed, (size, patches) in enumerate([(12, 3), (16, 4), (24, 4), (30, 5)]):
        ours, gradients = step(compiled, seed, size, patches)
        expected, wanted = step(plain, seed, size, patches)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
        for one, other in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        seen.append(graphs.count)
    assert seen[0] > 0
    assert seen[1:] == [seen[1]] * 3  # the second size shows what is dynamic


def test_copies_have_weights_of_their_own_and_are_not_compiled() -> None:
    tok = perturbed(CONFIGS["paper"]())
    pixels = random_pixels(1, 3, 12, 12)
    expected = tok(pixels, None, None, 3)[0]
    graphs = Graphs()
    tok.compile(backend=graphs)
    copies = [copy.deepcopy(tok), pickle.loads(pickle.dumps(tok))]
    with torch.no_grad():
        for parameter in tok.parameters():
            parameter.zero_()
    for other in copies:
        torch.testing.assert_close(other(pixels, None, None, 3)[0], expected, rtol=0, atol=1e-9)
    assert graphs.count == 0
    tok(pixels, None, None, 3)
    assert graphs.count > 0


def test_compiled_weights_are_saved_under_their_own_names() -> None:
    tok = fresh(CONFIGS["paper"]())
    names = set(tok.state_dict())
    tok.compile(backend=Graphs())
    assert set(tok.state_dict()) == names
