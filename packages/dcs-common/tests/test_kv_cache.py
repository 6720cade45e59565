"""Level by level on cached keys and values is what all levels at once are (Eq. 2 to 5)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.attention import level_causal_attention
from dcs_common.kv_cache import KeyValueCache, LayerCache
from dcs_common.levels import sample_level_map
from dcs_common.token_layout import TokenLayout

HEADS, WIDTH = 2, 3


def attend(qkv: list[Tensor], layout: TokenLayout, cache: LayerCache | None) -> Tensor:
    """LCA over a layout's sequence; (b, t, h, w, n, c) with zeros where it has no tokens."""
    outputs = []
    parts = zip(*(layout.split(layout.gather(part)) for part in qkv), strict=True)
    for (group, query), (_, key), (_, value) in parts:
        q, k, v = (part.unflatten(-1, (HEADS, WIDTH)) for part in (query, key, value))
        if cache is not None:
            k, v = cache.extend(group, k, v)
        outputs.append(level_causal_attention(q, k, v, group).flatten(2).flatten(0, 1))
    return layout.scatter(torch.cat(outputs))


def inputs(level_map: Tensor) -> list[Tensor]:
    shape = (*level_map.shape, int(level_map.max()), HEADS * WIDTH)
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn((3, *shape), dtype=torch.float64, generator=generator))


def assert_cached_is_joint(level_map: Tensor) -> None:
    qkv, layout, cache = inputs(level_map), TokenLayout.of(level_map), LayerCache()
    joint = attend(qkv, layout, None)
    for level in range(layout.num_levels):
        new = attend(qkv, layout.at_level(level), cache)
        assert (new[..., level, :] - joint[..., level, :]).abs().max() < 1e-9
        new[..., level, :] = 0
        assert not new.any()


@given(data=st.data(), shape=st.tuples(*(st.integers(1, most) for most in (3, 3, 2, 3))))
def test_any_level_map(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    size = torch.Size(shape).numel()
    counts = data.draw(st.lists(st.integers(1, 4), min_size=size, max_size=size))
    assert_cached_is_joint(torch.tensor(counts).view(shape))


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("kind", ["uniform", "stratified", "independent", "mixed counts"])
def test_pictures_and_clips(kind: str, segments: int) -> None:
    shape = (5, segments, 2, 3)
    if kind == "uniform":
        level_map = torch.full(shape, 4)
    elif kind == "mixed counts":
        level_map = torch.tensor([2, 4, 1, 2, 3]).view(-1, 1, 1, 1).expand(shape)
    else:
        generator = torch.Generator().manual_seed(1)
        level_map = sample_level_map(shape, 4, draw=kind, generator=generator)
    assert_cached_is_joint(level_map)


def test_later_levels_leave_earlier_keys_alone() -> None:
    level_map = torch.full((2, 2, 1, 3), 3)
    key, value, _ = inputs(level_map)
    layout, cache = TokenLayout.of(level_map), LayerCache()
    kept = []
    for level in range(3):
        part = layout.at_level(level)
        (group,) = part.groups
        new = [x.view(2, -1, HEADS, WIDTH) for x in (part.gather(key), part.gather(value))]
        seen = cache.extend(group, *new)
        assert [x.shape[1] for x in seen] == [6 * (level + 1)] * 2
        assert all(torch.equal(x[:, -6:], y) for x, y in zip(seen, new, strict=True))
        if kept:
            assert all(torch.equal(x[:, :-6], y) for x, y in zip(seen, kept, strict=True))
        kept = [x.clone() for x in seen]


def test_memory_is_that_of_all_levels_but_a_samples_last() -> None:
    """Keys and values of every token that a later level sees, once; taken at the first level."""
    level_map = torch.tensor([3, 1, 2, 2, 3, 3]).view(2, 1, 1, 3)
    qkv, layout, cache = inputs(level_map), TokenLayout.of(level_map), KeyValueCache(2)
    assert cache.num_bytes() == 0
    # The samples' patches have 3, 1, 2 and 2, 3, 3 levels: 3 + 2 and 3 + 3 tokens below level 3.
    one_layer = 2 * (5 + 6) * HEADS * WIDTH * 8
    for count, layer in enumerate(cache.layers, start=1):
        attend(qkv, layout.at_level(0), layer)
        assert layer.num_bytes() == one_layer
        assert cache.num_bytes() == count * one_layer


def test_levels_kept_elsewhere_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values that are copied to another place and back are those that stay."""
    level_map = torch.tensor([3, 1, 2, 2, 3, 3]).view(2, 1, 1, 3)
    qkv, layout = inputs(level_map), TokenLayout.of(level_map)
    here, elsewhere = LayerCache(), LayerCache(torch.device("cpu"))
    found = [attend(qkv, layout.at_level(level), here) for level in range(3)]
    monkeypatch.setattr(LayerCache, "_is_here", lambda *_: False)
    for level in range(3):
        assert torch.equal(attend(qkv, layout.at_level(level), elsewhere), found[level])
    assert elsewhere.num_bytes() == here.num_bytes()
