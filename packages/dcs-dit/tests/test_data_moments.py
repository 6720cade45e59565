"""Moments of parts merge into those of the whole."""

import json

import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_dit.data.latent_moments import LatentMoments


@given(st.integers(0, 2**32), st.lists(st.integers(0, 150), min_size=1, max_size=6))
def test_parts_give_the_moments_of_the_whole(seed: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    # A mean far from zero, where sums of squares would lose everything.
    tokens = 1e4 + torch.randn(sum(sizes) + 1, 1, 2, 3, 5, 7, generator=generator)
    moments = LatentMoments.none(5, 7)
    for part in tokens.split([*sizes, 1]):
        moments = moments.merged(LatentMoments.of(part))
    values = tokens.double().flatten(0, 3)
    assert moments.count == len(values)
    expected = (values.mean(dim=0), values.std(dim=0, correction=0))
    torch.testing.assert_close(moments.statistics.mean, expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.statistics.std, expected[1], rtol=1e-9, atol=0)


def test_no_tokens_have_no_deviation() -> None:
    statistics = LatentMoments.none(5, 7).merged(LatentMoments.none(5, 7)).statistics
    assert torch.equal(statistics.mean, torch.zeros(5, 7, dtype=torch.float64))
    assert torch.equal(statistics.std, torch.zeros(5, 7, dtype=torch.float64))


def test_json_keeps_moments_exactly() -> None:
    moments = LatentMoments.of(torch.rand(3, 1, 2, 3, 5, 7))
    read = LatentMoments.from_json(json.loads(json.dumps(moments.to_json())))
    assert read.count == moments.count
    assert torch.equal(read.mean, moments.mean)
    assert torch.equal(read.m2, moments.m2)
