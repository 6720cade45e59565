"""The trunk's block, with weights drawn at random so that no path is silent (Fig. 4b)."""

import re

import pytest
import torch
from torch import Tensor, nn

from dcs_common.attention_reference import additive, lca_mask, masked_attention
from dcs_common.kv_cache import KeyValueCache
from dcs_common.level_causal_block import LevelCausalAttention, LevelCausalBlock
from dcs_common.positions import latent_coordinates
from dcs_common.rope import GroupedRope, RopeConfig, rotate
from dcs_common.token_layout import TokenLayout

WIDTH, HEADS = 16, 2
RAGGED = torch.tensor([3, 1, 1, 2, 3, 3, 2, 2, 3, 1, 1, 3]).view(2, 3, 1, 2)
MAPS = {
    "picture": torch.full((3, 1, 2, 2), 3),
    "clip": torch.full((2, 3, 1, 2), 3),
    "ragged": RAGGED,
}
EVERY_MAP = pytest.mark.parametrize("level_map", MAPS.values(), ids=MAPS)


class Trunk(nn.Module):
    """Two blocks, on latents (b, t, h, w, n, width)."""

    def __init__(self, qk_norm: bool) -> None:
        super().__init__()
        self.rope = GroupedRope(WIDTH // HEADS, RopeConfig(spatial_steps=4, segment_horizon=4))
        self.blocks = nn.ModuleList(LevelCausalBlock(WIDTH, HEADS, qk_norm) for _ in range(2))

    def forward(
        self, latents: Tensor, layout: TokenLayout, cache: KeyValueCache | None = None
    ) -> Tensor:
        x, rotations = layout.gather(latents), layout.rotations(self.rope, latents)
        for i, block in enumerate(self.blocks):
            x = block(x, layout, rotations, cache and cache.layers[i])
        return layout.scatter(x)


@pytest.fixture(params=[False, True], ids=["plain", "qk_norm"])
def trunk(request: pytest.FixtureRequest) -> Trunk:
    trunk = Trunk(request.param).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.copy_(
                0.4 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
                + (parameter.ndim == 1)
            )
    return trunk


def latents_for(level_map: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (*level_map.shape, int(level_map.max()), WIDTH)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def may_see(level_map: Tensor, token: list[int]) -> Tensor:
    """Which tokens (b, t, h, w, n) may depend on one of them."""
    b, t = level_map.shape[:2]
    level = torch.arange(int(level_map.max()))
    is_active = level < level_map.unsqueeze(-1)
    return (
        (torch.arange(b).view(-1, 1, 1, 1, 1) == token[0])
        & (torch.arange(t).view(-1, 1, 1, 1) >= token[1])
        & (level >= token[4])
        & is_active
        & is_active[tuple(token)]
    )


@EVERY_MAP
@torch.no_grad()
def test_a_token_changes_exactly_what_may_see_it(trunk: Trunk, level_map: Tensor) -> None:
    """Level and temporal causality, to the last bit, for a perturbation of every token."""
    latents, layout = latents_for(level_map), TokenLayout.of(level_map)
    before = trunk(latents, layout)
    for token in torch.ones(latents.shape[:-1]).nonzero().tolist():
        changed = latents.clone()
        changed[tuple(token)] += torch.linspace(1, 2, WIDTH, dtype=torch.float64)
        moved = (trunk(changed, layout) != before).any(dim=-1)
        assert torch.equal(moved, may_see(level_map, token)), token


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * norm.weight


@EVERY_MAP
@torch.no_grad()
def test_a_block_is_its_drawing(trunk: Trunk, level_map: Tensor) -> None:
    """Norm, projections, rotation of queries and keys, softmax under a dense mask, residuals."""
    latents, block = latents_for(level_map), trunk.blocks[0]
    del trunk.blocks[1]
    _, t, h, w, n, _ = latents.shape
    x = latents.flatten(1, 4)
    attention = block.attention
    projected = attention.qkv(normed(x, block.attention_norm)).view(*x.shape[:2], 3, HEADS, -1)
    query, key, value = projected.unbind(2)
    places = latent_coordinates((t, h, w), n).transpose(0, 1).flatten(0, 1)
    rotation = trunk.rope(places, x)
    query = rotate(normed(query, attention.query_norm), rotation)
    key = rotate(normed(key, attention.key_norm), rotation)
    is_active = (torch.arange(n) < level_map.unsqueeze(-1)).flatten(1)
    mask = lca_mask(places[:, 3], places[:, 0], is_active)
    out = masked_attention(query, key, value, additive(mask, x).unsqueeze(1)).flatten(2)
    x = x + attention.out(out)
    x = x + block.feed_forward(normed(x, block.feed_forward_norm))
    expected = (x * is_active.unsqueeze(-1)).view(latents.shape)
    assert (trunk(latents, TokenLayout.of(level_map)) - expected).abs().max() < 1e-9


@EVERY_MAP
def test_gradients_are_zero_where_a_token_may_not_be_seen(trunk: Trunk, level_map: Tensor) -> None:
    latents = latents_for(level_map).requires_grad_()
    out = trunk(latents, TokenLayout.of(level_map))
    for token in torch.ones(latents.shape[:-1]).nonzero().tolist():
        if token[4] < level_map[tuple(token[:4])]:
            (gradient,) = torch.autograd.grad(out[tuple(token)].sum(), latents, retain_graph=True)
            reached = gradient.ne(0).any(dim=-1)
            for source in torch.ones(reached.shape).nonzero().tolist():
                assert reached[tuple(source)] == may_see(level_map, source)[tuple(token)]


@EVERY_MAP
@torch.no_grad()
def test_level_by_level_with_a_cache_is_all_at_once(trunk: Trunk, level_map: Tensor) -> None:
    latents, layout = latents_for(level_map), TokenLayout.of(level_map)
    joint, cache = trunk(latents, layout), KeyValueCache(2)
    for level in range(layout.num_levels):
        # What lies above a level is not there yet, and what lies below is in the cache alone.
        only = torch.full_like(latents, torch.nan)
        only[..., level, :] = latents[..., level, :]
        new = trunk(only, layout.at_level(level), cache)
        assert (new[..., level, :] - joint[..., level, :]).abs().max() < 1e-9


@EVERY_MAP
@torch.no_grad()
def test_batch_mates_do_not_matter(trunk: Trunk, level_map: Tensor) -> None:
    latents = latents_for(level_map)
    together = trunk(latents, TokenLayout.of(level_map))
    for i in range(len(latents)):
        layout = TokenLayout.of(level_map[i : i + 1], latents.shape[4])
        assert (trunk(latents[i : i + 1], layout) - together[i : i + 1]).abs().max() < 1e-9


@EVERY_MAP
@torch.no_grad()
def test_fewer_levels_are_a_prefix(trunk: Trunk, level_map: Tensor) -> None:
    latents = latents_for(level_map)
    whole = trunk(latents, TokenLayout.of(level_map))
    for m in (1, 2):
        some = trunk(latents[..., :m, :], TokenLayout.of(level_map.clamp(max=m)))
        assert (some - whole[..., :m, :]).abs().max() < 1e-9


@pytest.mark.parametrize("axis", [1, 2, 3, 4], ids=["segment", "row", "column", "level"])
@torch.no_grad()
def test_attention_knows_places(trunk: Trunk, axis: int) -> None:
    """Where the first two of three tokens change places, the third, which sees both, notices."""
    level_map = torch.full((1, 3, 3, 3), 3)
    layout, latents = TokenLayout.of(level_map), latents_for(level_map)
    order = torch.tensor([1, 0, 2])
    del trunk.blocks[1]
    moved = trunk(latents.index_select(axis, order), layout) - trunk(latents, layout)
    assert moved.select(axis, 2).abs().amin(dim=-1).max() > 1e-3


def test_width_is_shared_out_among_heads() -> None:
    message = "`width` must be a multiple of `heads`, but is 13 for 2 heads."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LevelCausalAttention(13, 2)
