"""SSIM and LPIPS of pictures whose distance is known, and what is said where they cannot be."""

import sys
from functools import cache
from math import inf
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor

from dcs_common.torchvision_import import import_torchvision
from dcs_eval import LPIPS, ssim
from dcs_eval.metrics import METRICS, measure

from .conftest import photograph
from .errors import error


@cache
def random_trunk() -> dict[str, Tensor]:
    """Return a state dict with torchvision's keys and random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = import_torchvision("dcs-eval[metrics]").models.squeezenet1_1(weights=None)
    return network.state_dict()


@pytest.fixture
def trunk(tmp_path: Path) -> Path:
    torch.save(random_trunk(), tmp_path / "trunk.pth")
    return tmp_path / "trunk.pth"


def test_equal_pictures(trunk: Path) -> None:
    picture = photograph()
    found = measure(picture, picture.clone(), ssim=ssim, lpips=LPIPS(trunk))
    assert (found.psnr, found.lpips) == (inf, 0)
    assert found.ssim == pytest.approx(1, abs=1e-6)


def test_only_what_was_asked_for_is_measured() -> None:
    found = measure(photograph(0), photograph(1))
    assert (found.ssim, found.lpips) == (None, None)


def test_ssim_of_constants_by_hand() -> None:
    """Without variance only the means remain: (2 a b + C1) / (a^2 + b^2 + C1), C1 = 0.01^2."""
    first, second = torch.full((1, 3, 13, 17), 0.2), torch.full((1, 3, 13, 17), 0.6)
    assert ssim(first, second) == pytest.approx((0.24 + 1e-4) / (0.40 + 1e-4), abs=1e-4)


def test_every_metric_gets_worse_with_more_noise(trunk: Path) -> None:
    picture, noise = photograph(), torch.randn(1, 3, 61, 83, generator=torch.Generator())
    metric = LPIPS(trunk)
    found = [
        measure((picture + s * noise).clamp(0, 1), picture, ssim=ssim, lpips=metric)
        for s in (0.02, 0.1, 0.4)
    ]
    for key, about in METRICS.items():
        values = [about.sign * getattr(quality, key) for quality in found]
        assert values[0] > values[1] > values[2], key


def test_lpips_reads_features_alone_as_well(trunk: Path, tmp_path: Path) -> None:
    bare = {k.removeprefix("features."): v for k, v in random_trunk().items() if "features" in k}
    torch.save(bare, tmp_path / "bare.pth")
    pair = (photograph(0), photograph(1))
    assert LPIPS(trunk)(*pair) == LPIPS(tmp_path / "bare.pth")(*pair) > 0


def test_lpips_is_what_its_own_library_computes(trunk: Path) -> None:
    metric = LPIPS(trunk)
    pictures = torch.cat([photograph(seed) for seed in (0, 1, 2)])
    references = torch.cat([photograph(seed) for seed in (1, 1, 4)])
    expected = metric._network(pictures, references, normalize=True).flatten()
    assert metric.each(pictures, references).tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert [metric(*pair) for pair in zip(pictures.split(1), references.split(1), strict=True)] == (
        pytest.approx(expected.tolist(), rel=1e-4)
    )


def test_lpips_uses_the_heads_that_it_is_given(trunk: Path, tmp_path: Path) -> None:
    """LPIPS is a sum over heads, linear in their weights."""
    network = LPIPS(trunk)._network
    heads = {k: 3 * v for k, v in network.state_dict().items() if k.startswith("lin")}
    wanted = {f"lin{i}.model.1.weight": heads[f"lin{i}.model.1.weight"] for i in range(7)}
    torch.save(wanted, tmp_path / "heads.pth")
    pair = (photograph(0), photograph(1))
    tripled = LPIPS(trunk, tmp_path / "heads.pth")(*pair)
    assert tripled == pytest.approx(3 * LPIPS(trunk)(*pair), rel=1e-4)


def test_without_a_file_the_trunk_comes_from_the_cache(
    trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    with error(
        "LPIPS needs torchvision's squeezenet1_1 trained on ImageNet, but it is not in torch.hub's "
        "cache, and downloading it failed (<urlopen error no network here>). Download it on "
        "another machine and give its path as the trunk."
    ):
        LPIPS()
    cache = tmp_path / "home" / "hub" / "checkpoints"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "squeezenet1_1-b8a52dc0.pth").write_bytes(trunk.read_bytes())
    pair = (photograph(0), photograph(1))
    assert LPIPS()(*pair) == LPIPS(trunk)(*pair)


def test_lpips_leaves_the_random_state_alone(trunk: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    LPIPS(trunk)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_may_be_too_small(trunk: Path) -> None:
    with error(
        "SSIM needs pictures of at least 11 pixels a side, but this one is 17x10. Leave SSIM out."
    ):
        ssim(torch.zeros(1, 3, 10, 17), torch.zeros(1, 3, 10, 17))
    with error(
        "LPIPS needs pictures of at least 17 pixels a side, but this one is 16x31. Leave LPIPS out."
    ):
        LPIPS(trunk)(torch.zeros(1, 3, 31, 16), torch.zeros(1, 3, 31, 16))
    smallest = torch.zeros(1, 3, 17, 17)
    assert LPIPS(trunk)(smallest, smallest) == 0


def test_files_of_weights_must_be_what_they_are_called(trunk: Path, tmp_path: Path) -> None:
    with error(f"A file of weights must exist, but {tmp_path / 'x'} does not. Check the path."):
        LPIPS(tmp_path / "x")
    (tmp_path / "torn.pth").write_bytes(trunk.read_bytes()[:999])
    with pytest.raises(ValueError, match=r"^A file of weights must be a whole state dict of "):
        LPIPS(tmp_path / "torn.pth")
    with error(
        f"The file must hold LPIPS' heads for SqueezeNet, but {trunk} lacks 7 of 7 tensors, "
        "lin0.model.1.weight first. Give the file of that network."
    ):
        LPIPS(trunk, trunk)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with error(
        "lpips is needed here, but it is not installed. Install it with "
        "`pip install 'dcs-eval[metrics]'`, or measure PSNR alone."
    ):
        LPIPS()


def test_ssim_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    assert ssim(photograph(), photograph()) == pytest.approx(1)
