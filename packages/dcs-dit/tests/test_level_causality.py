"""A level's velocity never depends on a level above it, nor a segment's on a later one.

Exact: a perturbation at unchanged shapes leaves every number that must not see it untouched, and
so do gradients.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from .small_dit import CLIP, KINDS, LEVELS, PICTURE, changed, inputs, model

COUNTS = [4, 2, 4, 3, 1]
GRIDS = pytest.mark.parametrize("grid", [PICTURE, CLIP], ids=["picture", "clip"])
EVERY_KIND = pytest.mark.parametrize("kind", sorted(KINDS))


@GRIDS
@EVERY_KIND
@pytest.mark.parametrize("level", range(LEVELS))
def test_velocities_change_from_the_changed_level_on(
    level: int, kind: str, grid: tuple[int, int, int]
) -> None:
    dit, together = model(kind), inputs(COUNTS, kind, grid)
    before = together.velocity(dit)
    other = changed(together.noised, ..., level, slice(None))
    after = replace(together, noised=other).velocity(dit)
    counts = together.levels.view(-1, 1, 1, 1, 1)
    place = torch.arange(LEVELS)
    may_change = (place >= level) & (place < counts) & (level < counts)
    assert may_change.any()
    assert torch.equal((after != before).any(dim=-1), may_change.expand(before.shape[:-1]))


@EVERY_KIND
@pytest.mark.parametrize("segment", range(CLIP[0]))
@pytest.mark.parametrize("level", range(LEVELS))
def test_a_token_is_seen_by_its_box_of_later_segments_and_higher_levels(
    level: int, segment: int, kind: str
) -> None:
    dit, together = model(kind), inputs([LEVELS, 2], kind, CLIP)
    before = together.velocity(dit)
    other = changed(together.noised, slice(None), segment, 0, 3, level)
    after = replace(together, noised=other).velocity(dit)
    is_active = torch.arange(LEVELS) < together.levels.view(-1, 1, 1, 1, 1)
    may_change = is_active.expand(before.shape[:-1]).clone()
    may_change[:, :segment] = False
    may_change[..., :level] = False
    may_change[together.levels <= level] = False
    assert torch.equal((after != before).any(dim=-1), may_change)


@given(
    level=st.integers(0, LEVELS - 1),
    segment=st.integers(0, CLIP[0] - 1),
    place=st.integers(0, CLIP[2] - 1),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_gradients_reach_lower_levels_and_earlier_segments_alone(
    level: int, segment: int, place: int, kind: str
) -> None:
    dit, together = model(kind), inputs([LEVELS, LEVELS - 1], kind, CLIP)
    noised = together.noised.clone().requires_grad_()
    velocity = replace(together, noised=noised).velocity(dit)
    (gradient,) = torch.autograd.grad(velocity[0, segment, 0, place, level].sum(), noised)
    sees = torch.zeros(gradient.shape[:-1], dtype=torch.bool)
    sees[0, : segment + 1, :, :, : level + 1] = True
    assert torch.equal((gradient != 0).any(dim=-1), sees)


@EVERY_KIND
def test_all_patches_of_a_segment_see_one_another(kind: str) -> None:
    """Within a tile, attention is full: a token of the last patch reaches the first."""
    dit, together = model(kind), inputs([LEVELS], kind, PICTURE)
    noised = together.noised.clone().requires_grad_()
    velocity = replace(together, noised=noised).velocity(dit)
    (gradient,) = torch.autograd.grad(velocity[0, 0, 0, 0, 0].sum(), noised)
    assert (gradient[0, 0, :, :, 0] != 0).any(dim=-1).all()
