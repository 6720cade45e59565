"""The masks of Fig. 12 and 13, drawn by hand: `#` where a query (row) may attend to a key."""

import pytest
import torch
from torch import Tensor

from dcs_common.attention_reference import additive, lca_mask, lpa_mask, masked_attention, pla_mask
from dcs_common.token_layout import TokenGroup, TokenLayout


def drawn(art: str) -> Tensor:
    return torch.tensor([[mark == "#" for mark in line] for line in art.split()])


# Inside one patch: three pixels, then the latent tokens of levels 1 to 4.
PLA_FULL = """
    ###....
    ###....
    ###....
    ####...
    #####..
    ######.
    #######
"""
PLA_SELF = """
    #......
    .#.....
    ..#....
    ####...
    #####..
    ######.
    #######
"""
LPA_FULL = """
    #######
    #######
    #######
    ...#...
    ...##..
    ...###.
    ...####
"""
LPA_SELF = """
    #..####
    .#.####
    ..#####
    ...#...
    ...##..
    ...###.
    ...####
"""

# Across 2 x 2 patches of 4 levels, as the paper orders tokens: patch by patch, levels inside.
LCA = """
    #...#...#...#...
    ##..##..##..##..
    ###.###.###.###.
    ################
    #...#...#...#...
    ##..##..##..##..
    ###.###.###.###.
    ################
    #...#...#...#...
    ##..##..##..##..
    ###.###.###.###.
    ################
    #...#...#...#...
    ##..##..##..##..
    ###.###.###.###.
    ################
"""
# Patch i has i tokens.
LCA_DROPPED = """
    #...#...#...#...
    ................
    ................
    ................
    #...#...#...#...
    #...##..##..##..
    ................
    ................
    #...#...#...#...
    #...##..##..##..
    #...##..###.###.
    ................
    #...#...#...#...
    #...##..##..##..
    #...##..###.###.
    #...##..###.####
"""
LCA_REMOVED = """
    ##.#..#...
    ##.#..#...
    #####.##..
    ##.#..#...
    #####.##..
    #########.
    ##.#..#...
    #####.##..
    #########.
    ##########
"""
# The same in our order, level by level.
LCA_LEVEL_MAJOR = """
    ####............ ####............ ####............ ####............
    ########........ ########........ ########........ ########........
    ############.... ############.... ############.... ############....
    ################ ################ ################ ################
"""
LCA_REMOVED_LEVEL_MAJOR = """
    ####...... ####...... ####...... ####......
    #######... #######... #######...
    #########. #########.
    ##########
"""
# A clip of 4 segments of 2 x 2 patches (Fig. 13). The four patches of a segment see the same;
# one line here for each level of one patch, four lines for a segment.
VIDEO = """
    #...#...#...#...................................................
    ##..##..##..##..................................................
    ###.###.###.###.................................................
    ################................................................

    #...#...#...#...#...#...#...#...................................
    ##..##..##..##..##..##..##..##..................................
    ###.###.###.###.###.###.###.###.................................
    ################################................................

    #...#...#...#...#...#...#...#...#...#...#...#...................
    ##..##..##..##..##..##..##..##..##..##..##..##..................
    ###.###.###.###.###.###.###.###.###.###.###.###.................
    ################################################................

    #...#...#...#...#...#...#...#...#...#...#...#...#...#...#...#...
    ##..##..##..##..##..##..##..##..##..##..##..##..##..##..##..##..
    ###.###.###.###.###.###.###.###.###.###.###.###.###.###.###.###.
    ################################################################
"""


def video_mask() -> Tensor:
    return drawn(VIDEO).view(4, 1, 4, 64).expand(4, 4, 4, 64).reshape(64, 64)


def mask_of_boxes(group: TokenGroup) -> Tensor:
    """What the slices of a layout let a token see."""
    mask = torch.zeros(group.num_tokens, group.num_tokens, dtype=torch.bool)
    for tile in group.tiles:
        for start, stop in tile.box:
            mask[tile.start : tile.stop, start:stop] = True
    return mask


def test_pla_is_fig_12a() -> None:
    assert torch.equal(pla_mask(3, 4), drawn(PLA_FULL))
    assert torch.equal(pla_mask(3, 4, "self"), drawn(PLA_SELF))


def test_lpa_is_fig_12b() -> None:
    assert torch.equal(lpa_mask(3, 4), drawn(LPA_FULL))
    assert torch.equal(lpa_mask(3, 4, "self"), drawn(LPA_SELF))


def test_lca_is_fig_12c() -> None:
    level = torch.arange(4).repeat(4)
    assert torch.equal(lca_mask(level, torch.zeros(16)), drawn(LCA))


def test_dropped_tokens_are_masked_as_in_fig_12d() -> None:
    level, patch = torch.arange(4).repeat(4), torch.arange(4).repeat_interleave(4)
    mask = lca_mask(level, torch.zeros(16), is_active=level <= patch)
    assert torch.equal(mask, drawn(LCA_DROPPED))


def test_fig_12e_is_fig_12d_without_its_empty_rows_and_columns() -> None:
    dropped = drawn(LCA_DROPPED)
    assert torch.equal(dropped[dropped.any(dim=1)][:, dropped.any(dim=0)], drawn(LCA_REMOVED))
    level = torch.tensor([0, 0, 1, 0, 1, 2, 0, 1, 2, 3])
    assert torch.equal(lca_mask(level, torch.zeros(10)), drawn(LCA_REMOVED))


def test_lca_of_a_clip_is_fig_13() -> None:
    level, segment = torch.arange(4).repeat(16), torch.arange(4).repeat_interleave(16)
    assert torch.equal(lca_mask(level, segment), video_mask())


@pytest.mark.parametrize(
    ("counts", "art"),
    [([4, 4, 4, 4], LCA_LEVEL_MAJOR), ([1, 2, 3, 4], LCA_REMOVED_LEVEL_MAJOR)],
)
def test_boxes_of_a_picture_are_the_masks_level_by_level(counts: list[int], art: str) -> None:
    (group,) = TokenLayout.of(torch.tensor(counts).view(1, 1, 2, 2)).groups
    assert torch.equal(mask_of_boxes(group), drawn(art))


def test_boxes_of_a_clip_are_fig_13_level_by_level() -> None:
    (group,) = TokenLayout.of(torch.full((1, 4, 2, 2), 4)).groups
    level_major = torch.arange(64).view(4, 4, 4).permute(2, 0, 1).flatten()  # from (t, hw, n)
    assert torch.equal(mask_of_boxes(group), video_mask()[level_major][:, level_major])


def test_tokens_that_see_nothing_get_zeros() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 16, 2, 3, generator=generator)
    mask = drawn(LCA_DROPPED)
    out = masked_attention(query, key, value, additive(mask, query))
    assert not out[:, ~mask.any(dim=1)].any()
    assert out[:, mask.any(dim=1)].abs().amin() > 0
    assert out.isfinite().all()


def test_masked_attention_is_the_formula() -> None:
    """One head, two keys, logits log 3 and 0: weights 3/4 and 1/4, and the first key alone."""
    query = torch.tensor([3.0, 3.0], dtype=torch.float64).log().view(1, 2, 1, 1)
    key = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    value = torch.tensor([8.0, 16.0], dtype=torch.float64).view(1, 2, 1, 1)
    mask = additive(drawn("#. ##"), query)
    assert masked_attention(query, key, value, mask).flatten().tolist() == pytest.approx([8, 10])
