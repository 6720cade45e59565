"""Level maps within budget and bounds, and what Algorithm 1, gains and their prediction promise."""

from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common import Latents, psnr, resize, source_grid
from dcs_tok import DCSTok, allocate_levels
from dcs_tok.allocation import METHODS
from dcs_tok.allocation.entropy import allocate_by_weight, grey_entropy
from dcs_tok.allocation.gains import allocate_by_gain, measured_gains
from dcs_tok.demo import PHOTO
from dcs_tok.pictures import read_picture

from .commands import Command
from .errors import error
from .picture_files import small_photo
from .tiny_models import CONFIGS, perturbed, random_pixels


@pytest.fixture(scope="module")
def tok() -> DCSTok:
    return DCSTok.from_pretrained()


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return resize(read_picture(PHOTO).pixels, (128, 144)).clamp(0, 1)


@pytest.mark.parametrize("method", METHODS)
@given(bounds=st.lists(st.integers(1, 5), min_size=2, max_size=2), share=st.floats(0, 1))
def test_no_map_exceeds_average_or_bounds(method: str, bounds: list[int], share: float) -> None:
    model = perturbed(CONFIGS["nano"](), torch.float32)
    minimum, maximum = sorted(bounds)
    average = minimum + share * (maximum - minimum)
    pixels = random_pixels(2, 3, 4, 13, 17, dtype=torch.float32)
    levels = allocate_levels(pixels, average, minimum, maximum, method, model, fps=4)
    assert levels.shape == (2, 2, 3, 4)
    assert minimum <= int(levels.min()) <= int(levels.max()) <= maximum
    assert bool((levels.double().mean(dim=(1, 2, 3)) <= average).all())
    if method != "entropy":  # Algorithm 1 may stay below
        assert levels.flatten(1).sum(dim=1).tolist() == [int(average * 24)] * 2
    model.encode(pixels, 4, levels)


@pytest.mark.parametrize("method", METHODS)
def test_batch_mates_do_not_matter(method: str, tok: DCSTok, photo: Tensor) -> None:
    both = torch.cat([photo, photo.flip(3)])
    levels = allocate_levels(both, 2, 1, 3, method, tok)
    alone = [allocate_levels(one[None], 2, 1, 3, method, tok) for one in both]
    assert torch.equal(levels, torch.cat(alone))


def test_gains_are_the_squared_errors_that_levels_take_away(tok: DCSTok, photo: Tensor) -> None:
    latents = tok.encode(photo, levels=3, patches=5)
    grid = source_grid(photo.shape[-2:], 1, None, patches=5, segments_per_second=6)
    gains = measured_gains(tok, photo.unsqueeze(2), latents, grid)
    errors = [tok.decode(latents, levels=m) - photo for m in (1, 2, 3)]
    corner = [
        float(e[0, :, : grid.row_edges[1], : grid.column_edges[1]].square().sum()) for e in errors
    ]
    expected = [corner[0] - corner[1], corner[1] - corner[2]]
    assert gains[0, 0, 0, 0].tolist() == pytest.approx(expected, rel=1e-4)
    whole = float((errors[0].square() - errors[2].square()).sum())
    assert float(gains.sum()) == pytest.approx(whole, rel=1e-4)


def test_gains_make_better_maps_than_none_and_their_prediction_keeps_most_of_it(
    tok: DCSTok, photo: Tensor
) -> None:
    found = {"uniform": psnr(tok.decode(tok.encode(photo, levels=2)), photo)}
    for method in METHODS:
        levels = allocate_levels(photo, 2, 1, 3, method, tok)
        found[method] = psnr(tok.decode(tok.encode(photo, levels=levels)), photo)
    assert found["uniform"] < found["greedy"]
    kept = (found["predicted"] - found["uniform"]) / (found["greedy"] - found["uniform"])
    assert kept > 0.8


# ---------------------------------------------------------------- Algorithm 1


def test_entropy_of_patches_is_that_of_their_histograms() -> None:
    pixels = torch.zeros(1, 3, 1, 32, 64)
    pixels[..., :16, 16:32] = 1  # a patch of one grey, a patch of two, the rest black
    pixels[..., 16:24, 32:48] = 1
    grid = source_grid((32, 64), 1, None, patches=2, segments_per_second=6)
    found = grey_entropy(pixels, grid)[0, 0]
    expected = torch.zeros(2, 4, dtype=torch.float64)
    expected[1, 2] = 1
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_entropy_hardly_depends_on_scale(scale: int, photo: Tensor) -> None:
    found = []
    for s in (1, scale):
        pixels = photo.repeat_interleave(s, 2).repeat_interleave(s, 3).unsqueeze(2)
        grid = source_grid(pixels.shape[-2:], 1, None, patches=8, segments_per_second=6)
        found.append(grey_entropy(pixels, grid))
    assert float((found[0] - found[1]).abs().mean()) < 0.15


def test_algorithm_1_by_hand() -> None:
    """Weights 1, 1.8, 2.2, 3 round to 1, 2, 2, 3: an average of 2 without any adjustment."""
    weight = torch.tensor([0.0, 0.4, 0.6, 1.0], dtype=torch.float64)
    assert allocate_by_weight(weight, 2.0, 1, 3).tolist() == [1, 2, 2, 3]


def test_alike_weights_get_the_average_rounded_down() -> None:
    weight = torch.full((7,), 3.2, dtype=torch.float64)
    assert allocate_by_weight(weight, 2.9, 1, 4).tolist() == [2] * 7


@given(st.lists(st.floats(0, 8), min_size=1, max_size=40), st.floats(1, 4))
def test_more_weight_never_gets_fewer_levels(values: list[float], average: float) -> None:
    weight = torch.tensor(values, dtype=torch.float64)
    levels = allocate_by_weight(weight, average, 1, 4)
    assert float(levels.double().mean()) <= average
    ordered = levels[weight.argsort()]
    assert bool((ordered.diff() >= 0).all())


# ---------------------------------------------------------------- gains


@given(
    gain=st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), min_size=1, max_size=4),
    data=st.data(),
)
def test_no_other_map_of_the_budget_gains_more_where_gains_fall(
    gain: list[list[int]], data: st.DataObject
) -> None:
    falling = torch.tensor([sorted(row, reverse=True) for row in gain], dtype=torch.float64)
    patches = len(falling)
    budget = data.draw(st.integers(patches, 3 * patches))

    def total(levels: tuple[int, ...]) -> float:
        return sum(float(row[: m - 1].sum()) for row, m in zip(falling, levels, strict=True))

    found = tuple(allocate_by_gain(falling, budget, 1).tolist())
    assert sum(found) == budget
    maps = product((1, 2, 3), repeat=patches)
    assert total(found) == max(total(other) for other in maps if sum(other) == budget)


def test_a_level_that_leads_to_a_gain_is_worth_taking() -> None:
    gain = torch.tensor([[0.0, 10.0], [3.0, 1.0]], dtype=torch.float64)
    assert allocate_by_gain(gain, 4, 1).tolist() == [3, 1]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("average", "minimum", "maximum"), [(0.5, 1, 3), (4, 1, 3), (2, 0, 3), (2, 1, 9), (2, 3, 1)]
)
def test_bounds_that_cannot_be(
    average: float, minimum: int, maximum: int, tok: DCSTok, photo: Tensor
) -> None:
    with error(
        f"Levels must be 1 <= minimum <= average <= maximum <= 8, but are {minimum}, {average} and "
        f"{maximum}. Change them."
    ):
        allocate_levels(photo, average, minimum, maximum, model=tok)


def test_an_unknown_method(photo: Tensor) -> None:
    with error(
        "`method` must be one of ('entropy', 'greedy', 'predicted'), but is 'best'. Choose one."
    ):
        allocate_levels(photo, 2, method="best")  # type: ignore[arg-type]


def test_gains_of_a_model_without_a_linear_path_are_not_predicted(photo: Tensor) -> None:
    model = perturbed(CONFIGS["paper"](), torch.float32)
    with error(
        "Gains can be predicted for a model with a linear path, but this one has none. Use the "
        "method 'greedy' or 'entropy'."
    ):
        allocate_levels(photo, 2, 1, 3, model=model)


def test_the_command_spends_levels_where_they_gain(command: Command, tmp_path: Path) -> None:
    photo = small_photo(tmp_path / "photo.png", 64, 80)
    command.line("encode", photo, tmp_path / "even", "--levels", 2)
    command.line("encode", photo, tmp_path / "spent", "--average-levels", 2, "--levels", 3)
    levels = Latents.load(tmp_path / "spent").levels
    assert torch.equal(levels, allocate_levels(read_picture(photo).pixels, 2, 1, 3))
    source, quality = read_picture(photo).pixels, []
    for name in ("even", "spent"):
        command.line("decode", tmp_path / name, tmp_path / "out.png")
        quality.append(psnr(read_picture(tmp_path / "out.png").pixels, source))
    assert quality[0] < quality[1]
