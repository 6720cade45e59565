"""The Karhunen-Loeve code of toy patches equals the eigenvectors that one computes by hand."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from dcs_tok.klt import ERROR_FLOOR, eigenvectors, karhunen_loeve, repeated
from dcs_tok.linear_path import LinearCode
from dcs_tok.patch_moments import PatchMoments

from .errors import error

GRID = 2
SIZE = GRID * GRID * 3
LEVELS, LEVEL_SIZE = 3, 2


def toy_patches(count: int, frames: int, seed: int = 0) -> Tensor:
    """Draw correlated patches about a mean that is not grey: (count, frames, g, g, 3)."""
    generator = torch.Generator().manual_seed(seed)
    size = frames * SIZE
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    spread = 0.3 * 0.7 ** torch.arange(size, dtype=torch.float64)
    mean = torch.rand(size, generator=generator, dtype=torch.float64)
    flat = torch.randn(count, size, generator=generator, dtype=torch.float64) * spread
    return (flat @ mixing + mean).float().view(count, frames, GRID, GRID, 3)


def moments_of(patches: Tensor, weight: float = 1.0) -> PatchMoments:
    """Gather patches that are canonical already."""
    frames = patches.shape[1]
    moments = PatchMoments(frames, GRID)
    moments.add(patches, tuple(Fraction(i + 1, frames) for i in range(frames)), weight)
    return moments


def toy_code(kinds: Sequence[tuple[Tensor, float]], frames: int) -> dict[str, Tensor]:
    """Return the code of kinds of patches with their weights."""
    return karhunen_loeve(
        [(moments_of(patches), weight) for patches, weight in kinds],
        frames=frames,
        levels=LEVELS,
        level_size=LEVEL_SIZE,
    )


def second_moment(flat: Tensor, center: Tensor) -> Tensor:
    """Second moment about a point, in double precision, by its definition."""
    centered = flat.double() - center
    return centered.T @ centered / len(flat)


def by_hand(moment: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return all eigenvalues, descending, and the first eigenvectors as rows, peaks positive."""
    values, vectors = torch.linalg.eigh(moment)
    rows = vectors.flip(1).T[:count].clone()
    for row in rows:
        if row[row.abs().argmax()] < 0:
            row.neg_()
    return values.flip(0), rows


def test_eigenvectors_are_orthonormal_descending_and_their_peaks_positive() -> None:
    flat = toy_patches(300, 1).flatten(1)
    moment = second_moment(flat, flat.double().mean(dim=0))
    found = eigenvectors(moment, 7)
    torch.testing.assert_close(found @ found.T, torch.eye(7, dtype=torch.float64))
    variances = (found @ moment @ found.T).diagonal()
    assert torch.equal(variances, variances.sort(descending=True).values)
    values, rows = by_hand(moment, 7)
    torch.testing.assert_close(variances, values[:7])
    torch.testing.assert_close(found, rows)
    assert (found.gather(1, found.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_the_sign_does_not_depend_on_the_solver() -> None:
    flat = toy_patches(300, 1).flatten(1)
    moment = second_moment(flat, flat.double().mean(dim=0))
    flipped = torch.diag((-1.0) ** torch.arange(SIZE, dtype=torch.float64))
    found = eigenvectors(flipped @ moment @ flipped, 5)
    signs = (found @ flipped @ eigenvectors(moment, 5).T).diagonal()
    torch.testing.assert_close(signs.abs(), torch.ones(5, dtype=torch.float64))
    assert (found.gather(1, found.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_the_code_of_pictures_is_their_covariances_eigenvectors() -> None:
    patches = toy_patches(500, 1)
    code = toy_code([(patches, 3.0)], frames=1)
    flat = patches.flatten(1)
    mean = flat.double().mean(dim=0)
    _, rows = by_hand(second_moment(flat, mean), LEVELS * LEVEL_SIZE)
    shape = (LEVELS, LEVEL_SIZE, 1, GRID, GRID, 3)
    torch.testing.assert_close(code["mean"].flatten().double(), mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(code["encode_weight"].double(), rows.view(shape), rtol=0, atol=1e-4)
    assert torch.equal(code["decode_weight"], code["encode_weight"])
    assert code["decode_weight"].data_ptr() != code["encode_weight"].data_ptr()
    assert {tensor.dtype for tensor in code.values()} == {torch.float32}


@pytest.mark.parametrize("frames", [1, 3])
def test_every_prefix_leaves_exactly_the_other_eigenvalues(frames: int) -> None:
    patches = toy_patches(400, frames)
    patches = patches - patches.mean(dim=(0, 1)) + 0.4  # one mean for all frames
    code = toy_code([(patches, 1.0)], frames=frames)
    model = LinearCode(LEVELS, LEVEL_SIZE, frames, GRID)
    model.load_state_dict(code, strict=True)
    flat = patches.flatten(1)
    values, _ = by_hand(second_moment(flat, code["mean"].flatten().double()), 1)
    times = tuple(Fraction(i + 1, frames) for i in range(frames))
    errors = []
    with torch.no_grad():
        latents = model.encode(patches, LEVELS)
        for level in range(1, LEVELS + 1):
            rebuilt = model.decode(latents[:, :level], times)
            errors.append(float((rebuilt - patches).double().square().mean()))
            left_over = float(values[level * LEVEL_SIZE :].sum()) / flat.shape[1]
            assert errors[-1] == pytest.approx(left_over, rel=1e-3)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_no_other_code_of_as_many_coefficients_leaves_less() -> None:
    patches = toy_patches(400, 1)
    flat = patches.flatten(1).double()
    centered = flat - flat.mean(dim=0)
    code = toy_code([(patches, 1.0)], frames=1)["encode_weight"].double()

    def left_over(rows: Tensor) -> float:
        basis = torch.linalg.qr(rows.T).Q
        return float((centered - centered @ basis @ basis.T).square().mean())

    generator = torch.Generator().manual_seed(1)
    for level in range(1, LEVELS + 1):
        rows = code[:level].flatten(0, 1).flatten(1)
        for size in (0.01, 0.1, 1.0):
            noise = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
            assert left_over(rows) < left_over(rows + size * noise)


def test_a_moving_code_is_scaled_to_norm_one_per_frame() -> None:
    frames = 3
    code = toy_code([(toy_patches(300, frames), 1.0)], frames=frames)
    encode, decode = (
        code[name].double().flatten(0, 1).flatten(1) for name in ("encode_weight", "decode_weight")
    )
    eye = torch.eye(LEVELS * LEVEL_SIZE, dtype=torch.float64)
    torch.testing.assert_close(encode @ decode.T, eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(decode @ decode.T, frames * eye, rtol=0, atol=1e-5)
    torch.testing.assert_close(decode, frames * encode, rtol=0, atol=1e-5)


def test_a_mixture_weighs_each_kind_by_the_error_that_it_leaves_at_half_the_levels() -> None:
    frames = 2
    still, moving = toy_patches(300, 1, seed=1), toy_patches(300, frames, seed=2)
    weights = (0.25, 0.75)
    code = toy_code([(still, 1.0), (moving, 3.0)], frames=frames)
    still_flat, moving_flat = still.flatten(1).double(), moving.flatten(1).double()
    by_frame = weights[1] * moving_flat.view(300, frames, SIZE).mean(dim=(0, 1))
    mean = weights[0] * still_flat.mean(dim=0) + by_frame
    torch.testing.assert_close(
        code["mean"].double().flatten(1), mean.expand(frames, -1), rtol=0, atol=1e-6
    )
    half = LEVELS * LEVEL_SIZE // 2

    def share(moment: Tensor) -> float:
        return 1 / (float(by_hand(moment, 1)[0][half:].sum()) / len(moment) + ERROR_FLOOR)

    alone = second_moment(still_flat, mean)
    twice = second_moment(still_flat.repeat(1, frames), mean.repeat(frames))
    own = second_moment(moving_flat, mean.repeat(frames))
    mixture = weights[0] * share(alone) * twice + weights[1] * share(own) * own
    _, rows = by_hand(mixture, LEVELS * LEVEL_SIZE)
    found = code["decode_weight"].flatten(0, 1).flatten(1).double() / frames**0.5
    torch.testing.assert_close(found, rows, rtol=0, atol=1e-4)


def test_a_still_that_repeats_has_the_moments_of_its_repeated_patches() -> None:
    patches = toy_patches(50, 1)
    flat = patches.flatten(1).double()
    three = flat.repeat(1, 3)
    torch.testing.assert_close(repeated(flat.mean(dim=0), 3), three.mean(dim=0))
    torch.testing.assert_close(repeated(flat.T @ flat, 3), three.T @ three)


def test_a_single_coefficient_has_a_code() -> None:
    """Half of its levels are none, which leave everything."""
    patches = toy_patches(100, 1)
    code = karhunen_loeve([(moments_of(patches), 1.0)], frames=1, levels=1, level_size=1)
    flat = patches.flatten(1)
    _, rows = by_hand(second_moment(flat, flat.double().mean(dim=0)), 1)
    torch.testing.assert_close(code["encode_weight"].flatten().double(), rows[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("frames", [(), (2,), (1, 2)])
def test_kinds_of_other_frames(frames: tuple[int, ...]) -> None:
    message = (
        f"`kinds` must hold moments of 1 or 3 frames, but holds {list(frames)}. "
        "Gather them for these frames."
    )
    with error(message):
        toy_code([(toy_patches(5, count), 1.0) for count in frames], frames=3)
