"""The block under adaLN-zero: nothing at first, then each sample under its own modulation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.rope import GroupedRope, RopeConfig
from dcs_common.token_layout import TokenLayout
from dcs_dit.block import AdaLNBlock, add_gated, modulate

from .small_dit import CLOSE, LEVELS, PICTURE, lively, randn

WIDTH, HEADS = 32, 2
ROPE = GroupedRope(WIDTH // HEADS, RopeConfig(spatial_steps=8, segment_horizon=4))
COUNTS = st.lists(st.integers(1, LEVELS), min_size=1, max_size=5)


def _layout(counts: list[int]) -> TokenLayout:
    levels = torch.tensor(counts).view(-1, 1, 1, 1).expand(-1, *PICTURE)
    return TokenLayout.of(levels, LEVELS)


def _order(layout: TokenLayout) -> Tensor:
    return torch.cat([group.samples for group in layout.groups])


def _run(block: AdaLNBlock, x: Tensor, layout: TokenLayout, modulation: Tensor) -> Tensor:
    """Run a block on latents (b, t, h, w, n, width), modulations in the batch's order."""
    rotations = layout.rotations(ROPE, x)
    out = block(layout.gather(x), layout, rotations, modulation[_order(layout)])
    return layout.scatter(out)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("rank", [None, 3])
def test_a_fresh_block_is_the_identity(rank: int | None, qk_norm: bool) -> None:
    block = AdaLNBlock(WIDTH, HEADS, qk_norm=qk_norm, modulation_rank=rank).double()
    layout = _layout([4, 2, 1])
    modulation = block.modulation(randn(3, WIDTH))
    assert modulation.shape == (3, 6, 1, WIDTH)
    assert not modulation.any()
    x = layout.gather(randn(3, *PICTURE, LEVELS, WIDTH))
    out = block(x, layout, layout.rotations(ROPE, x), modulation)
    assert torch.equal(out, x)
    # No dead end: the gates learn at once.
    (out - randn(*out.shape, seed=1)).square().sum().backward()
    gates = block.modulation.wide.weight.grad.unflatten(0, (6, WIDTH))[[2, 5]]
    assert (gates != 0).any(dim=2).all()


@pytest.mark.parametrize("branch", [2, 5])
def test_each_gate_opens_its_branch(branch: int) -> None:
    block, layout = lively(AdaLNBlock(WIDTH, HEADS)).double(), _layout([4, 2])
    x, modulation = randn(2, *PICTURE, LEVELS, WIDTH), randn(2, 6, 1, WIDTH, seed=1)
    modulation[:, [2, 5]] = 0
    active = layout.scatter(layout.gather(x))
    assert torch.equal(_run(block, x, layout, modulation), active)
    modulation[1, branch] = 1
    found = _run(block, x, layout, modulation)
    assert torch.equal(found[0], active[0])
    shift, scale = modulation[1, branch - 2], modulation[1, branch - 1]
    own = _layout([2])
    sequence = own.gather(x[1:])
    if branch == 2:
        norm, part = block.attention_norm, block.attention
        out = part(norm(sequence) * (1 + scale) + shift, own, own.rotations(ROPE, x))
    else:
        norm, part = block.feed_forward_norm, block.feed_forward
        out = part(norm(sequence) * (1 + scale) + shift)
    torch.testing.assert_close(found[1:], own.scatter(sequence + out), **CLOSE)


@given(counts=COUNTS)
def test_tokens_are_modulated_by_their_own_sample(counts: list[int]) -> None:
    layout, b = _layout(counts), len(counts)
    x, (shift, scale) = randn(b, *PICTURE, LEVELS, WIDTH), randn(2, b, 1, WIDTH, seed=1)
    is_active = torch.arange(LEVELS)[:, None] < torch.tensor(counts).view(-1, 1, 1, 1, 1, 1)

    def in_batch(vectors: Tensor) -> Tensor:
        return vectors.view(b, 1, 1, 1, 1, WIDTH)

    order = _order(layout)
    found = layout.scatter(modulate(layout.gather(x), shift[order], scale[order], layout))
    expected = torch.where(is_active, x * (1 + in_batch(scale)) + in_batch(shift), 0)
    torch.testing.assert_close(found, expected, **CLOSE)
    branch = randn(*x.shape, seed=2)
    found = layout.scatter(add_gated(layout.gather(x), scale[order], layout.gather(branch), layout))
    expected = torch.where(is_active, x + in_batch(scale) * branch, 0)
    torch.testing.assert_close(found, expected, **CLOSE)


@given(counts=COUNTS, seed=st.integers(0, 100))
def test_a_batch_is_its_samples_one_by_one(counts: list[int], seed: int) -> None:
    block, b = lively(AdaLNBlock(WIDTH, HEADS, qk_norm=bool(seed % 2))).double(), len(counts)
    x = randn(b, *PICTURE, LEVELS, WIDTH, seed=seed)
    modulation = block.modulation(randn(b, WIDTH, seed=seed + 1))
    found = _run(block, x, _layout(counts), modulation)
    for i, count in enumerate(counts):
        alone = _run(block, x[i : i + 1], _layout([count]), modulation[i : i + 1])
        torch.testing.assert_close(found[i : i + 1], alone, **CLOSE)


@pytest.mark.parametrize("part", range(6))
def test_every_modulation_has_its_own_effect(part: int) -> None:
    block, layout = lively(AdaLNBlock(WIDTH, HEADS)).double(), _layout([3, 3])
    x, modulation = randn(2, *PICTURE, LEVELS, WIDTH), randn(2, 6, 1, WIDTH, seed=1)
    before = _run(block, x, layout, modulation)
    modulation[0, part] += 0.5
    after = _run(block, x, layout, modulation)
    is_active = torch.arange(LEVELS) < 3
    assert torch.equal((after[0] != before[0]).any(dim=-1), is_active.expand(*PICTURE, LEVELS))
    assert torch.equal(after[1], before[1])
