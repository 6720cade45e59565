"""The perceptual loss over a random trunk: no weights, no network."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from dcs_tok.losses.lpips_network import TRUNKS, import_lpips
from dcs_tok.losses.perceptual import PerceptualLoss

from .errors import error
from .random_trunk import random_trunk
from .tiny_models import random_pixels


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trunk") / "squeezenet.pth"
    torch.save(random_trunk(), path)
    return path


@pytest.fixture(scope="module")
def loss(file: Path) -> PerceptualLoss:
    return PerceptualLoss("squeeze", trunk_weights=file).double()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_equal_pictures_have_no_distance_and_others_have_one(loss: PerceptualLoss) -> None:
    first, second = random_pixels(2, 3, 19, 23), random_pixels(2, 3, 19, 23, seed=1)
    assert loss(first, first.clone()).item() == 0
    near = loss(first, first + 0.1 * (second - first)).item()
    assert 0 < near < loss(first, second).item()


def test_it_is_what_lpips_gives_for_the_same_weights(loss: PerceptualLoss, file: Path) -> None:
    """With the library's own way of loading: `pnet_rand` and heads from its wheel."""
    lpips = import_lpips()
    with pytest.warns(UserWarning, match="deprecated since 0.13"):
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    trunk = torch.load(file, weights_only=True)
    for part in network.net.children():
        for number, layer in part.named_children():
            prefix = f"features.{number}."
            layer.load_state_dict(
                {k.removeprefix(prefix): v for k, v in trunk.items() if k.startswith(prefix)}
            )
    first, second = random_pixels(5, 3, 29, 31), random_pixels(5, 3, 29, 31, seed=1)
    expected = network.double()(first, second, normalize=True).mean()
    torch.testing.assert_close(loss(first, second), expected, rtol=1e-12, atol=0)


def test_a_clips_distance_is_the_mean_over_its_frames(loss: PerceptualLoss) -> None:
    first, second = random_pixels(2, 3, 3, 19, 23), random_pixels(2, 3, 3, 19, 23, seed=1)
    frames = [loss(first[:, :, t], second[:, :, t]) for t in range(3)]
    assert torch.stack(frames).std() > 1e-6
    torch.testing.assert_close(loss(first, second), sum(frames) / 3, rtol=1e-12, atol=0)


def test_gradients_reach_the_pixels_and_not_the_weights(loss: PerceptualLoss) -> None:
    moved, target = (
        random_pixels(1, 3, 19, 23).requires_grad_(),
        random_pixels(1, 3, 19, 23, seed=1),
    )
    loss(moved, target).backward()
    assert moved.grad is not None
    assert moved.grad.all()
    network = loss._frozen[0]
    assert sum(1 for _ in network.parameters()) > 50
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())
    direction = random_pixels(*moved.shape, seed=2) - 0.5
    step = 1e-6
    with torch.no_grad():
        ends = [loss(moved + sign * step * direction, target) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((moved.grad * direction).sum(), slope, rtol=1e-4, atol=0)


def test_gradients_are_finite_where_no_feature_is_active(tmp_path: Path) -> None:
    """Features of length zero give lpips a NaN, which only the rectifiers hide."""
    trunk = random_trunk()
    trunk["features.0.bias"].fill_(-100.0)
    torch.save(trunk, tmp_path / "dead.pth")
    dead = PerceptualLoss("squeeze", trunk_weights=tmp_path / "dead.pth").double()
    moved, target = (
        random_pixels(2, 3, 19, 23).requires_grad_(),
        random_pixels(2, 3, 19, 23, seed=1),
    )
    (gradient,) = torch.autograd.grad(dead(moved, target), moved)
    assert gradient.isfinite().all()


def test_it_stays_frozen_in_eval_mode_and_out_of_every_list(file: Path) -> None:
    task = nn.Module()
    task.model = nn.Linear(3, 5)
    task.perceptual = PerceptualLoss("squeeze", trunk_weights=file)
    task.train().requires_grad_()
    assert task.state_dict().keys() == {"model.weight", "model.bias"}
    task.load_state_dict(task.state_dict())
    assert len(list(task.parameters())) == 2
    network = task.perceptual._frozen[0]
    assert not any(part.training for part in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    pixels = random_pixels(2, 3, 19, 23, dtype=torch.float32)
    assert torch.equal(task.perceptual(pixels, 1 - pixels), task.perceptual(pixels, 1 - pixels))


def test_it_follows_casts_and_copies(file: Path) -> None:
    loss = PerceptualLoss("squeeze", trunk_weights=file)
    first, second = random_pixels(2, 3, 19, 23), random_pixels(2, 3, 19, 23, seed=1)
    single = loss(first.float(), second.float())
    double = copy.deepcopy(loss).double()(first, second)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(first.float(), second.float())
    torch.testing.assert_close(half.float(), single, rtol=0.05, atol=0)


def test_large_pictures_are_compared_by_windows(file: Path) -> None:
    windowed = PerceptualLoss("squeeze", trunk_weights=file, max_size=19).double()
    whole = PerceptualLoss("squeeze", trunk_weights=file).double()
    first, second = random_pixels(2, 3, 2, 20, 23), random_pixels(2, 3, 2, 20, 23, seed=1)
    found = windowed(first, second, generators(0, 1))
    by_window = {
        (i, top, left): whole(
            *(x[i : i + 1, :, :, top : top + 19, left : left + 19] for x in (first, second))
        ).item()
        for i in range(2)
        for top in range(2)
        for left in range(5)
    }
    means = [
        (by_window[0, top, left] + by_window[1, other_top, other_left]) / 2
        for top in range(2)
        for left in range(5)
        for other_top in range(2)
        for other_left in range(5)
    ]
    assert min(abs(found.item() - mean) for mean in means) < 1e-12
    assert torch.equal(windowed(first, second, generators(0, 1)), found)
    drawn = {windowed(first, second, generators(seed, 9)).item() for seed in range(9)}
    assert len(drawn) > 1
    small = [x[..., :19, :19] for x in (first, second)]
    assert torch.equal(windowed(*small), whole(*small))
    message = (
        "Windows of 19 pixels from pictures of 23x20 need one generator per sample, but "
        "`generators` is None. Pass one for each, or a larger `max_size`."
    )
    with error(message):
        windowed(first, second)


@pytest.mark.parametrize("name", TRUNKS)
def test_the_smallest_side_is_the_networks(name: str) -> None:
    """Without numbers, on the meta device: one pixel less and pooling leaves nothing."""
    lpips, side = import_lpips(), TRUNKS[name].smallest_side
    with torch.device("meta"), pytest.warns(UserWarning, match="deprecated since 0.13"):
        network = lpips.LPIPS(net=name, pretrained=False, pnet_rand=True, verbose=False)
        network.net(torch.empty(1, 3, side, 41))
        network.net(torch.empty(1, 3, 41, side))
        with pytest.raises(RuntimeError):
            network.net(torch.empty(1, 3, side - 1, 41))


def test_pictures_that_are_too_small(loss: PerceptualLoss) -> None:
    for size in [(16, 41), (41, 16)]:
        message = (
            "Pictures must have at least 17 pixels a side for the trunk 'squeeze', but have "
            f"{size[1]}x{size[0]}. Enlarge them, or leave the perceptual loss out at this size."
        )
        with error(message):
            loss(random_pixels(2, 3, *size), random_pixels(2, 3, *size))


def test_pictures_of_two_shapes(loss: PerceptualLoss) -> None:
    message = (
        "Reconstruction and target must have one shape, but have (2, 3, 19, 23) and "
        "(1, 3, 19, 23). Decode at the target's size and frame rate."
    )
    with error(message):
        loss(random_pixels(2, 3, 19, 23), random_pixels(1, 3, 19, 23))


def test_windows_that_are_too_small(file: Path) -> None:
    message = (
        "`max_size` must be at least 17 for the trunk 'squeeze', but is 16. Use larger windows."
    )
    with error(message):
        PerceptualLoss("squeeze", trunk_weights=file, max_size=16)


def test_building_it_draws_nothing(file: Path) -> None:
    before = torch.get_rng_state()
    PerceptualLoss("squeeze", trunk_weights=file)
    assert torch.equal(torch.get_rng_state(), before)
