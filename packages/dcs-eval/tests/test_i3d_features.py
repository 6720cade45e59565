"""The network of FVD: pytorch-i3d's numbers, its names and sizes, and what goes in."""

import hashlib
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from dcs_eval.features import i3d
from dcs_eval.features.feature_files import FeatureFiles, extract
from dcs_eval.features.i3d import I3D_SHA256, I3DFeatures
from dcs_eval.features.i3d_network import I3D, pad_same

from .conftest import photograph
from .errors import error
from .formula_weights import formula_weights


@pytest.fixture(scope="module")
def network() -> I3D:
    made = I3D().eval().requires_grad_(False)
    made.load_state_dict(formula_weights(made.state_dict()))
    return made


@pytest.fixture(scope="module")
def weights(network: I3D, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as pytorch-i3d's, which holds no counters."""
    path = tmp_path_factory.mktemp("i3d") / "rgb.pt"
    tensors = {key: t for key, t in network.state_dict().items() if "num_batches" not in key}
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def space(weights: Path) -> I3DFeatures:
    before = torch.get_rng_state()
    made = I3DFeatures(weights, checksum=None)
    assert torch.equal(torch.get_rng_state(), before), "the random state is not left alone"
    return made


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_its_tensors_are_those_of_the_published_file(network: I3D) -> None:
    """287 tensors of 50,847,296 bytes, of a file of 50,883,138 with names and headers."""
    held = {key: t for key, t in network.state_dict().items() if "num_batches" not in key}
    assert len(held) == 287
    assert sum(4 * tensor.numel() for tensor in held.values()) == 50_847_296
    shapes = {
        "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
        "Conv3d_2c_3x3.bn.running_var": (192,),
        "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1),
        "Mixed_4e.b2b.conv3d.weight": (64, 32, 3, 3, 3),
        "Mixed_5c.b3b.bn.weight": (128,),
        "logits.conv3d.weight": (400, 1024, 1, 1, 1),
        "logits.conv3d.bias": (400,),
    }
    assert {key: tuple(held[key].shape) for key in shapes} == shapes


def test_its_numbers_are_those_of_pytorch_i3d(network: I3D) -> None:
    """Of a copy of its network (epsilon 0.001), with the same weights on the same clip."""
    shape = (1, 3, 11, 45, 38)
    places = torch.arange(math.prod(shape), dtype=torch.float64)
    clip = ((places * 0.7548776662) % 1).float().view(shape) * 2 - 1
    found = network.trunk(clip)
    assert found.shape == (1, 1024, 2, 2, 2)
    first = [0.0, 0.7207567095756531, 0.6169816255569458, 2.2436466217041016, 0.0, 0.7908247113]
    last = [0.0, 1.2552422285079956, 0.0, 1.6969563961029053, 1.7729723453521729, 0.0]
    assert found[0, ::171, 0, 0, 0].tolist() == pytest.approx(first, rel=1e-3, abs=1e-4)
    assert found[0, ::171, -1, -1, -1].tolist() == pytest.approx(last, rel=1e-3, abs=1e-4)
    assert float(found.mean()) == pytest.approx(1.2652073322711885, rel=1e-4)
    assert float(found.std()) == pytest.approx(2.192828137956575, rel=1e-4)


def test_logits_are_of_the_mean_over_place_and_time(
    network: I3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over pairs of steps, of which a clip of 24 frames has two."""
    trunk = torch.rand(2, 1024, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(network, "trunk", lambda clips: trunk)
    weight = network.logits.conv3d.weight.flatten(1)
    pairs = (trunk.mean((3, 4))[..., :2] + trunk.mean((3, 4))[..., 1:]) / 2
    expected = pairs.mean(2) @ weight.T + network.logits.conv3d.bias
    assert torch.allclose(network(torch.empty(0)), expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 3))
def test_padding_is_tensorflows(extent: int, kernel: int, stride: int) -> None:
    """``ceil(n / stride)`` outputs from the fewest zeros, of which the odd one comes last."""
    ones = torch.ones(1, 1, extent, 1, 1)
    padded = pad_same(ones, (kernel, 1, 1), (stride, 1, 1))[0, 0, :, 0, 0]
    outputs = -(-extent // stride)
    assert (len(padded) - kernel) // stride + 1 == outputs
    zeros = len(padded) - extent
    assert zeros == max(0, (outputs - 1) * stride + kernel - extent)
    assert padded.tolist() == [0.0] * (zeros // 2) + [1.0] * extent + [0.0] * (zeros - zeros // 2)


class Seen(torch.nn.Module):
    """In place of the network: keeps what goes in."""

    def forward(self, clips: Tensor) -> Tensor:
        self.clips = clips
        return clips.mean((1, 2, 3, 4))[:, None].expand(-1, 400)


def test_frames_go_in_at_224_from_minus_one_to_one(
    space: I3DFeatures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = Seen()
    monkeypatch.setattr(space, "_network", seen)
    frames = torch.cat([photograph(number, 60, 80) for number in range(18)])
    clips = frames.view(2, 9, 3, 60, 80).transpose(1, 2)
    found = space(clips)
    assert (found.shape, seen.clips.shape) == ((2, 400), (2, 3, 9, 224, 224))
    expected = interpolate(frames[13:14], (224, 224), mode="bilinear") * 2 - 1
    assert torch.allclose(seen.clips[1, :, 4], expected[0], atol=1e-5)
    space((clips * 255 + 0.4) / 255)
    assert torch.allclose(seen.clips[1, :, 4], expected[0], atol=1e-5)
    # Clips have features in a folder as pictures have.
    extract(clips, space, tmp_path / "out", samples_per_shard=1)
    assert torch.allclose(FeatureFiles.open(tmp_path / "out").features(), found, atol=1e-5)


def test_clips_that_are_none_are_refused(space: I3DFeatures) -> None:
    for shape in ((1, 3, 8, 32, 32), (1, 3, 32, 32), (1, 16, 3, 32, 32)):
        with error(
            "I3D needs clips (N, 3, T, H, W) of at least 9 frames, but these have the shape "
            f"{shape}. Usual are 16 frames."
        ):
            space(torch.zeros(shape))


def test_weights_are_named_by_their_checksum(
    weights: Path, space: I3DFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with error(
        f"The weights must have the SHA-256 {I3D_SHA256}, but {weights} has {digest(weights)}. "
        "Copy the file again, or pass `checksum=None` for a network of your own, whose figures "
        "cannot be compared with others."
    ):
        I3DFeatures(weights)
    assert (space.name, space.sha256) == (f"i3d-unverified-{digest(weights)[:8]}", digest(weights))
    monkeypatch.setattr(i3d, "I3D_SHA256", digest(weights))
    assert I3DFeatures(weights, checksum=digest(weights)).name == "i3d-kinetics400-logits"
    with error(f"A file of weights must exist, but {tmp_path} does not. Check the path."):
        I3DFeatures(tmp_path)
    torch.save({"logits.conv3d.bias": torch.zeros(101)}, tmp_path / "other.pt")
    with error(
        f"The file must hold I3D with 400 logits, but {tmp_path / 'other.pt'} lacks 287 of 287 "
        "tensors, Conv3d_1a_7x7.conv3d.weight first. Give the file of that network."
    ):
        I3DFeatures(tmp_path / "other.pt", checksum=None)
