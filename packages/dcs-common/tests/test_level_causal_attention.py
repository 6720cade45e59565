"""LCA by tiles is the paper's masked softmax over all tokens, whatever the level map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.attention import level_causal_attention
from dcs_common.attention_reference import additive, lca_mask, masked_attention
from dcs_common.levels import sample_level_map
from dcs_common.token_layout import TokenLayout

HEADS, WIDTH = 2, 3


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(level_map: Tensor, num_levels: int) -> list[Tensor]:
    """Queries, keys and values (b, t, h, w, n, heads * width), also of inactive tokens."""
    shape = (*level_map.shape, num_levels, HEADS * WIDTH)
    return [
        torch.randn(shape, dtype=torch.float64, generator=generator(seed)).requires_grad_()
        for seed in (1, 2, 3)
    ]


def by_tiles(qkv: list[Tensor], level_map: Tensor) -> Tensor:
    layout = TokenLayout.of(level_map, qkv[0].shape[4])
    outputs = []
    parts = zip(*(layout.split(layout.gather(part)) for part in qkv), strict=True)
    for (group, query), (_, key), (_, value) in parts:
        heads = (part.unflatten(-1, (HEADS, WIDTH)) for part in (query, key, value))
        outputs.append(level_causal_attention(*heads, group).flatten(2).flatten(0, 1))
    return layout.scatter(torch.cat(outputs))


def by_mask(qkv: list[Tensor], level_map: Tensor) -> Tensor:
    """All tokens of a sample, dropped ones masked, patch by patch as in Fig. 12(d)."""
    _, t, h, w, n, _ = qkv[0].shape
    level = torch.arange(n).repeat(t * h * w)
    segment = torch.arange(t).repeat_interleave(h * w * n)
    is_active = (torch.arange(n) < level_map.unsqueeze(-1)).flatten(1)
    mask = additive(lca_mask(level, segment, is_active), qkv[0]).unsqueeze(1)
    heads = (part.flatten(1, 4).unflatten(-1, (HEADS, WIDTH)) for part in qkv)
    return masked_attention(*heads, mask).flatten(2).view(qkv[0].shape)


def assert_tiles_are_the_mask(level_map: Tensor, num_levels: int) -> None:
    qkv = inputs(level_map, num_levels)
    fast, plain = by_tiles(qkv, level_map), by_mask(qkv, level_map)
    assert (fast - plain).abs().max() < 1e-9
    cotangent = torch.randn(plain.shape, dtype=torch.float64, generator=generator(4))
    for ours, theirs in zip(
        torch.autograd.grad(fast, qkv, cotangent),
        torch.autograd.grad(plain, qkv, cotangent),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-9
        assert ours.abs().max() > 0 or int(level_map.sum()) == len(level_map)


@given(data=st.data(), shape=st.tuples(*(st.integers(1, most) for most in (3, 3, 2, 3))))
def test_any_level_map(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    size = torch.Size(shape).numel()
    counts = data.draw(st.lists(st.integers(1, 4), min_size=size, max_size=size))
    assert_tiles_are_the_mask(torch.tensor(counts).view(shape), max(counts))


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("kind", ["uniform", "stratified", "independent", "mixed counts"])
def test_level_maps_of_training_and_use(kind: str, segments: int) -> None:
    shape = (5, segments, 2, 3)
    if kind == "uniform":
        level_map = torch.full(shape, 3)
    elif kind == "mixed counts":
        level_map = torch.tensor([2, 4, 1, 2, 3]).view(-1, 1, 1, 1).expand(shape)
    else:
        level_map = sample_level_map(shape, 4, draw=kind, generator=generator(0))
    assert_tiles_are_the_mask(level_map, 4)


def maps_by_name(name: str) -> Tensor:
    if name == "uniform":
        return torch.full((2, 3, 1, 2), 3)
    return torch.tensor([3, 1, 1, 2, 3, 3, 2, 2, 3, 1, 1, 3]).view(2, 3, 1, 2)


@pytest.mark.parametrize("name", ["uniform", "ragged"])
def test_a_token_changes_exactly_what_may_see_it(name: str) -> None:
    """To the last bit, for every token.

    Levels below, segments before and samples beside keep their values; all that may see the
    token changes.
    """
    level_map = maps_by_name(name)
    qkv = [part.detach() for part in inputs(level_map, 3)]
    before = by_tiles(qkv, level_map)
    b, t, _, _, n, _ = before.shape
    is_active = torch.arange(n) < level_map.unsqueeze(-1)
    sample = torch.arange(b).view(-1, 1, 1, 1, 1)
    segment = torch.arange(t).view(-1, 1, 1, 1)
    for token in torch.ones_like(is_active).nonzero().tolist():
        changed = [part.clone() for part in qkv]
        for part in changed:
            part[tuple(token)] += 3
        moved = (by_tiles(changed, level_map) != before).any(dim=-1)
        may_see = (sample == token[0]) & (segment >= token[1]) & (torch.arange(n) >= token[4])
        expected = may_see & is_active & is_active[tuple(token)]
        assert torch.equal(moved, expected), token


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_batch_mates_do_not_matter(seed: int) -> None:
    """Alone, in another company, in another order: equal up to rounding."""
    level_map = torch.randint(1, 5, (4, 2, 1, 3), generator=generator(seed))
    qkv = inputs(level_map, 4)
    together = by_tiles(qkv, level_map)
    order = torch.randperm(4, generator=generator(seed))
    shuffled = by_tiles([part[order] for part in qkv], level_map[order])
    assert (shuffled - together[order]).abs().max() < 1e-9
    for i in range(4):
        alone = by_tiles([part[i : i + 1] for part in qkv], level_map[i : i + 1])
        assert (alone - together[i : i + 1]).abs().max() < 1e-9


def test_a_uniform_prefix_of_levels_is_a_shorter_sequence() -> None:
    qkv = inputs(torch.ones(2, 2, 1, 3), 4)
    whole = by_tiles(qkv, torch.full((2, 2, 1, 3), 4))
    some = by_tiles([part[..., :2, :] for part in qkv], torch.full((2, 2, 1, 3), 2))
    assert (some - whole[..., :2, :]).abs().max() < 1e-9


def test_cutting_every_patch_to_m_levels_is_a_prefix() -> None:
    """For a level map M: the work on M, cut to m levels, equals the work on min(M, m)."""
    level_map = torch.tensor([3, 1, 4, 2, 3, 1]).view(1, 2, 1, 3)
    qkv = inputs(level_map, 4)
    whole = by_tiles(qkv, level_map)
    for m in (1, 2, 3):
        some = by_tiles([part[..., :m, :] for part in qkv], level_map.clamp(max=m))
        assert (some - whole[..., :m, :]).abs().max() < 1e-9
