"""Resizing keeps corners and ramps, and filters what the target cannot hold (Sec. 6.2)."""

import re

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from dcs_common.resample import resize, resize_matrix, sample_positions

COUNT = st.integers(1, 67)
SIZE = st.tuples(st.integers(2, 41), st.integers(2, 41))
ALIGNMENT = st.sampled_from(["corner", "center"])
KERNEL = st.sampled_from(["triangle", "cubic"])


def picture(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, dtype=torch.float64, generator=generator)


def ramp(size: tuple[int, int]) -> Tensor:
    """A plane over the unit square, 2 x + 3 y + 5, at corner-aligned places."""
    y, x = (sample_positions(count) for count in size)
    return 3 * y[:, None] + 2 * x + 5


def test_positions_are_at_the_corners_or_at_pixel_centres() -> None:
    assert sample_positions(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert sample_positions(1).tolist() == [0.5]
    assert sample_positions(4, "center").tolist() == [0.125, 0.375, 0.625, 0.875]


@given(source=COUNT, target=COUNT, alignment=ALIGNMENT, kernel=KERNEL)
def test_constant_pictures_stay_constant(
    source: int, target: int, alignment: str, kernel: str
) -> None:
    matrix = resize_matrix(source, target, alignment, kernel)
    assert matrix.shape == (target, source)
    assert (matrix.sum(dim=1) - 1).abs().max() < 1e-12


@given(source=COUNT, target=COUNT, alignment=ALIGNMENT)
def test_the_triangle_averages(source: int, target: int, alignment: str) -> None:
    """No weight is negative: no overshoot, whatever the picture."""
    assert resize_matrix(source, target, alignment).min() > -1e-12


@given(source=SIZE, target=SIZE, kernel=KERNEL)
@example(source=(2, 3), target=(2, 2), kernel="cubic")  # a kernel wider than the signal
def test_corners_keep_their_values(
    source: tuple[int, int], target: tuple[int, int], kernel: str
) -> None:
    pixels = picture(3, *source)
    corners = resize(pixels, target, kernel=kernel)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners - pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]).abs().max() < 1e-12


@given(source=SIZE, target=SIZE, kernel=KERNEL)
def test_ramps_are_kept(source: tuple[int, int], target: tuple[int, int], kernel: str) -> None:
    """Enlarging and reducing: nothing drifts by a part of a pixel."""
    assert (resize(ramp(source), target, kernel=kernel) - ramp(target)).abs().max() < 1e-10


def test_a_single_row_becomes_its_value_everywhere_and_a_single_target_the_middle() -> None:
    assert torch.equal(resize(picture(1, 1), (3, 7)), picture(1, 1).expand(3, 7))
    assert (resize(ramp((9, 13)), (1, 1)) - 7.5).abs() < 1e-12


@given(source=SIZE, extra=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_enlarging_is_bilinear_interpolation_with_aligned_corners(
    source: tuple[int, int], extra: tuple[int, int]
) -> None:
    pixels, target = picture(2, 3, *source), (source[0] + extra[0], source[1] + extra[1])
    expected = interpolate(pixels, target, mode="bilinear", align_corners=True)
    assert (resize(pixels, target) - expected).abs().max() < 1e-9


@given(source=SIZE, target=SIZE, kernel=KERNEL)
def test_centre_alignment_is_torchs_antialiased_resize(
    source: tuple[int, int], target: tuple[int, int], kernel: str
) -> None:
    pixels = picture(2, 3, *source)
    mode = {"triangle": "bilinear", "cubic": "bicubic"}[kernel]
    expected = interpolate(pixels, target, mode=mode, antialias=True)
    resized = resize(pixels, target, alignment="center", kernel=kernel)
    assert (resized - expected).abs().max() < 1e-9


def test_the_cubic_kernel_keeps_parabolas_inside() -> None:
    """Catmull-Rom is exact for them; linear interpolation is not."""
    places = sample_positions(9)
    fine = sample_positions(33)[4:-4]  # away from the corners by one source sample
    for kernel, exact in (("cubic", True), ("triangle", False)):
        resized = (resize_matrix(9, 33, "corner", kernel) @ places.square())[4:-4]
        assert ((resized - fine.square()).abs().max() < 1e-12) == exact


@given(source=SIZE, target=SIZE, alignment=ALIGNMENT, kernel=KERNEL)
def test_resizing_is_the_matrix_along_each_axis(
    source: tuple[int, int], target: tuple[int, int], alignment: str, kernel: str
) -> None:
    pixels = picture(2, *source)
    rows, columns = (
        resize_matrix(old, new, alignment, kernel) for old, new in zip(source, target, strict=True)
    )
    resized = resize(pixels, target, alignment=alignment, kernel=kernel)
    assert (resized - rows @ pixels @ columns.T).abs().max() < 1e-9


def test_reducing_removes_what_the_target_cannot_hold() -> None:
    """Stripes of one pixel turn grey, where plain interpolation would alias to black or white."""
    stripes = (torch.arange(65) % 2).double().expand(3, 65)
    inner = resize(stripes, (3, 17))[:, 1:-1]
    assert (inner - 0.5).abs().max() < 0.02
    assert (
        interpolate(stripes[None, None], (3, 17), mode="bilinear", align_corners=True)
    ).std() == 0


def test_the_size_one_has_is_returned_untouched() -> None:
    pixels = picture(3, 11, 13)
    assert torch.equal(resize(pixels, (11, 13)), pixels)


def test_mirrored_pictures_give_mirrored_results() -> None:
    pixels = picture(3, 29, 31)
    for alignment in ("corner", "center"):
        turned = resize(pixels.flip(1, 2), (13, 37), alignment=alignment).flip(1, 2)
        assert (resize(pixels, (13, 37), alignment=alignment) - turned).abs().max() < 1e-12


def test_gradients_are_the_transposed_weights() -> None:
    pixels = picture(5, 7).requires_grad_()
    cotangent = picture(3, 11)
    (gradient,) = torch.autograd.grad(resize(pixels, (3, 11)), pixels, cotangent)
    expected = resize_matrix(5, 3).T @ cotangent @ resize_matrix(7, 11)
    assert (gradient - expected).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_type_and_leading_axes_are_kept(dtype: torch.dtype) -> None:
    pixels = picture(2, 3, 5, 7, 11).to(dtype)
    result = resize(pixels, (13, 3))
    assert (result.dtype, tuple(result.shape)) == (dtype, (2, 3, 5, 13, 3))


@pytest.mark.parametrize(
    ("pixels", "size", "message"),
    [
        (
            torch.zeros(3, 5, 7, dtype=torch.uint8),
            (5, 5),
            "`pixels` must be floats, but are torch.uint8. Convert them, with `/ 255` for bytes.",
        ),
        (torch.zeros(3, 5, 7), (4, 0), "`size` must be at least 1x1, but is 0x4."),
        (torch.zeros(3, 5, 7), (-2, 9), "`size` must be at least 1x1, but is 9x-2."),
    ],
)
def test_errors_teach(pixels: Tensor, size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        resize(pixels, size)
