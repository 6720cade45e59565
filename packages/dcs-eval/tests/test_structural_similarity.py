"""SSIM against torchmetrics' and against what is known by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcs_common.torchvision_import import import_torchvision
from dcs_eval import ssim

from .conftest import photograph


@settings(max_examples=8)
@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(11, 40), st.integers(11, 40)),
    noise=st.sampled_from([0.0, 0.003, 0.1, 1.0]),
)
def test_equal_to_torchmetrics(seed: int, size: tuple[int, int], noise: float) -> None:
    import_torchvision("dcs-eval[metrics]")
    from torchmetrics.functional.image import structural_similarity_index_measure

    references = torch.cat([photograph(seed + i, *size) for i in range(3)])
    generator = torch.Generator().manual_seed(seed)
    pictures = references + noise * torch.randn(references.shape, generator=generator)
    pictures = pictures.clamp(0, 1)
    expected = structural_similarity_index_measure(
        pictures.double(), references.double(), data_range=1.0, reduction="none"
    )
    assert ssim.each(pictures, references).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_is_symmetric_and_at_most_one() -> None:
    first, second = photograph(0), photograph(1)
    assert ssim(first, second) == pytest.approx(ssim(second, first), abs=1e-6)
    assert ssim(first, second) < 0.9
    assert ssim(first, first) == pytest.approx(1, abs=1e-6)


def test_a_negative_has_negative_structure() -> None:
    """Equal means and variances with covariance -s^2: (C2 - 2 s^2) / (C2 + 2 s^2) throughout."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(1, 3, 53, 61, generator=generator)
    assert ssim(noise, 1 - noise) < -0.9
