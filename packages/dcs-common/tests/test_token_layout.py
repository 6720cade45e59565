"""Level-major sequences: what their order is, what a tile sees, and the way back."""

from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.levels import sample_level_map
from dcs_common.positions import latent_coordinates
from dcs_common.rope import GroupedRope, RopeConfig
from dcs_common.token_layout import TokenGroup, TokenLayout

Token = tuple[int, int, int, int, int]  # sample, level (0-based), segment, row, column


@st.composite
def level_maps(draw: st.DrawFn, highest: int = 4) -> Tensor:
    """Any counts at all: uniform, ragged, some segments without a token at some level."""
    shape = [draw(st.integers(1, most)) for most in (4, 3, 2, 3)]
    size = torch.Size(shape).numel()
    counts = st.lists(st.integers(1, highest), min_size=size, max_size=size)
    return torch.tensor(draw(counts)).view(shape)


def tokens_of(layout: TokenLayout) -> list[list[list[Token]]]:
    """Names of the tokens in the flat sequence, for each group and sample."""
    b, t, h, w = layout.shape
    places = list(product(range(b), range(t), range(h), range(w), range(layout.num_levels)))
    named = [
        (sample, level, segment, row, column)
        for sample, segment, row, column, level in (places[i] for i in layout.token_index.tolist())
    ]
    groups = []
    for group in layout.groups:
        samples = []
        for _ in range(group.num_samples):
            samples.append(named[: group.num_tokens])
            del named[: group.num_tokens]
        groups.append(samples)
    assert not named
    return groups


def seen(group: TokenGroup, token: int) -> list[int]:
    (tile,) = (tile for tile in group.tiles if tile.start <= token < tile.stop)
    return [key for start, stop in tile.box for key in range(start, stop)]


@given(level_map=level_maps())
def test_every_active_token_is_there_once_in_level_major_order(level_map: Tensor) -> None:
    layout = TokenLayout.of(level_map)
    groups = tokens_of(layout)
    found = [token for samples in groups for tokens in samples for token in tokens]
    active = {
        (b, level, *place)
        for b, *place in product(*(range(extent) for extent in level_map.shape))
        for level in range(int(level_map[b, *place]))
    }
    assert (len(found), set(found)) == (len(active), active)
    assert layout.num_tokens == int(level_map.sum())
    for samples in groups:
        for tokens in samples:
            assert tokens == sorted(tokens)  # level, then segment, then row, then column
            assert len({token[0] for token in tokens}) == 1


@given(level_map=level_maps())
def test_a_token_sees_levels_and_segments_up_to_its_own(level_map: Tensor) -> None:
    """The box's slices against every token's own level and segment."""
    layout = TokenLayout.of(level_map)
    for group, samples in zip(layout.groups, tokens_of(layout), strict=True):
        for tokens in samples:
            for i, (_, level, segment, *_) in enumerate(tokens):
                expected = [
                    j
                    for j, (_, other_level, other_segment, *_) in enumerate(tokens)
                    if other_level <= level and other_segment <= segment
                ]
                assert seen(group, i) == expected


@given(level_map=level_maps())
def test_tiles_follow_one_another_without_gaps(level_map: Tensor) -> None:
    for group in TokenLayout.of(level_map).groups:
        edges = [0] + [tile.stop for tile in group.tiles]
        assert [tile.start for tile in group.tiles] == edges[:-1]
        assert edges[-1] == group.num_tokens
        for tile in group.tiles:
            flat = [edge for piece in tile.box for edge in piece]
            assert flat == sorted(set(flat))  # neighbouring slices are merged


@given(level_map=level_maps(), extra=st.integers(0, 2))
def test_scatter_puts_back_what_gather_took(level_map: Tensor, extra: int) -> None:
    n = int(level_map.max()) + extra
    latents = torch.randn(*level_map.shape, n, 5)
    active = torch.arange(n) < level_map.unsqueeze(-1)
    layout = TokenLayout.of(level_map, n)
    sequence = layout.gather(latents)
    assert sequence.shape == (layout.num_tokens, 5)
    assert torch.equal(layout.scatter(sequence), latents * active.unsqueeze(-1))
    assert torch.equal(layout.gather(layout.scatter(sequence)), sequence)


@given(level_map=level_maps())
def test_split_hands_each_group_its_samples(level_map: Tensor) -> None:
    latents = torch.arange(level_map.shape[0]).view(-1, 1, 1, 1, 1, 1)
    layout = TokenLayout.of(level_map)
    sequence = layout.gather(latents.expand(*level_map.shape, layout.num_levels, 1))
    found = []
    for group, part in layout.split(sequence):
        assert part.shape == (group.num_samples, group.num_tokens, 1)
        assert torch.equal(part, group.samples.view(-1, 1, 1).expand_as(part))
        found += group.samples.tolist()
    assert sorted(found) == list(range(level_map.shape[0]))


@given(level_map=level_maps())
def test_levels_one_by_one_are_the_whole(level_map: Tensor) -> None:
    """The part at a level continues where the ones below it, kept in a cache, end."""
    layout = TokenLayout.of(level_map)
    by_key = {
        group.key: (group, samples)
        for group, samples in zip(layout.groups, tokens_of(layout), strict=True)
    }
    positions = dict.fromkeys(by_key, 0)
    for level in range(layout.num_levels):
        part = layout.at_level(level)
        for group, samples in zip(part.groups, tokens_of(part), strict=True):
            whole, all_samples = by_key[group.key]
            start = positions[group.key]
            positions[group.key] = stop = start + group.num_tokens
            assert group.capacity == whole.num_tokens - sum(whole.tile_sizes[-1])
            assert samples == [tokens[start:stop] for tokens in all_samples]
            assert all(token[1] == level for tokens in samples for token in tokens)
            for i in range(group.num_tokens):
                assert seen(group, i) == seen(whole, start + i)
    assert positions == {key: group.num_tokens for key, (group, _) in by_key.items()}


@given(level_map=level_maps())
def test_samples_with_equal_tiles_work_together(level_map: Tensor) -> None:
    tiles = [
        tuple((sample >= level).sum(dim=(1, 2)).tolist() for level in range(1, 5))
        for sample in level_map
    ]
    layout = TokenLayout.of(level_map)
    assert len(layout.groups) == len({str(sizes) for sizes in tiles})


def test_uniform_and_stratified_batches_are_one_group() -> None:
    uniform = TokenLayout.of(torch.full((5, 2, 3, 7), 4))
    assert len(uniform.groups) == 1
    assert len(uniform.groups[0].patches) == 1  # shared by the samples
    generator = torch.Generator().manual_seed(0)
    stratified = TokenLayout.of(sample_level_map((5, 2, 3, 7), 8, generator=generator))
    assert len(stratified.groups) == 1
    assert len(stratified.groups[0].patches) == 5


def test_a_single_segment_sees_a_prefix() -> None:
    generator = torch.Generator().manual_seed(0)
    level_map = sample_level_map((3, 1, 3, 5), 4, draw="independent", generator=generator)
    for group in TokenLayout.of(level_map).groups:
        assert [tile.box for tile in group.tiles] == [((0, tile.stop),) for tile in group.tiles]


@given(level_map=level_maps())
def test_tokens_carry_the_rotation_of_their_place(level_map: Tensor) -> None:
    rope = GroupedRope(16, RopeConfig(spatial_steps=8, segment_horizon=4))
    layout = TokenLayout.of(level_map)
    _, t, h, w = layout.shape
    like = torch.empty(0, dtype=torch.float64)
    table = latent_coordinates((t, h, w), layout.num_levels).view(-1, t, h, w, 4)
    for rotation, samples in zip(layout.rotations(rope, like), tokens_of(layout), strict=True):
        assert len(rotation.cos) in (1, len(samples))
        for i, tokens in enumerate(samples):
            expected = rope(torch.stack([table[token[1:]] for token in tokens]), like)
            own = i if len(rotation.cos) > 1 else 0
            assert torch.equal(rotation.cos[own], expected.cos)
            assert torch.equal(rotation.sin[own], expected.sin)
