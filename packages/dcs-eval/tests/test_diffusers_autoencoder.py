"""diffusers' own autoencoders, tiny and random, through the adapter."""

import json
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dcs_common.entry_points import find_tokenizer
from dcs_common.latents import Latents
from dcs_common.protocols import ImageTokenizer
from dcs_common.psnr import psnr
from dcs_common.resample import resize
from dcs_common.torchvision_import import import_torchvision
from dcs_eval import evaluate_reconstruction
from dcs_eval.adapters.diffusers_autoencoder import DiffusersAutoencoder, load

from .conftest import photograph
from .errors import error


@cache
def autoencoder(kind: str) -> nn.Module:
    """Return a random autoencoder: KL halves sides twice, DC once."""
    import_torchvision("dcs-eval[diffusers]")
    library = import_module("diffusers")
    with torch.random.fork_rng():
        torch.manual_seed(11)
        if kind == "AutoencoderKL":
            found = library.AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                block_out_channels=(4, 4, 8),
                latent_channels=5,
                norm_num_groups=2,
            )
        else:
            found = library.AutoencoderDC(
                latent_channels=4,
                attention_head_dim=2,
                encoder_block_types=("ResBlock", "EfficientViTBlock"),
                decoder_block_types=("ResBlock", "EfficientViTBlock"),
                encoder_block_out_channels=(8, 8),
                decoder_block_out_channels=(8, 8),
                encoder_layers_per_block=(1, 1),
                decoder_layers_per_block=(1, 1),
                encoder_qkv_multiscales=((), ()),
                decoder_qkv_multiscales=((), ()),
                downsample_block_type="conv",
            )
    return found.eval()


KINDS = ("AutoencoderKL", "AutoencoderDC")


@torch.no_grad()
def own_reconstruction(kind: str, pixels: Tensor) -> Tensor:
    """Encode and decode as the library does, without the adapter."""
    model: Any = autoencoder(kind)
    encoded = model.encode(2 * pixels - 1)
    latent = encoded.latent_dist.mean if kind == "AutoencoderKL" else encoded.latent
    return (model.decode(latent).sample / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize(
    ("kind", "tokens", "channels"), [(KINDS[0], 8 * 11, 5), (KINDS[1], 352, 4)]
)
def test_equal_to_the_library_where_the_stride_divides(
    kind: str, tokens: int, channels: int
) -> None:
    tokenizer = DiffusersAutoencoder(autoencoder(kind))
    pixels = torch.cat([photograph(seed, 32, 44) for seed in (0, 1)])
    latents = tokenizer.encode(pixels, levels=1)
    assert isinstance(tokenizer, ImageTokenizer)
    assert isinstance(latents, Latents)
    expected = own_reconstruction(kind, pixels)
    assert torch.allclose(tokenizer.decode(latents, size=(32, 44)), expected, atol=1e-5)
    assert int(latents.levels[0].sum()) == tokenizer.tokens((32, 44)) == tokens
    assert (tokenizer.config.num_levels, tokenizer.config.latent_channels) == (1, channels)
    assert latents.tokens.shape[-1] == channels


@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes_are_reflected_and_cropped(kind: str) -> None:
    tokenizer = DiffusersAutoencoder(autoencoder(kind))
    stride = {"AutoencoderKL": 4, "AutoencoderDC": 2}[kind]
    pixels = photograph(0, 29, 41)
    rows = [*range(29), *range(27, 27 - (-29 % stride), -1)]
    columns = [*range(41), *range(39, 39 - (-41 % stride), -1)]
    expected = own_reconstruction(kind, pixels[:, :, rows][..., columns])[..., :29, :41]
    latents = tokenizer.encode(pixels)
    assert torch.allclose(tokenizer.decode(latents), expected, atol=1e-5)
    assert int(latents.levels.sum()) == tokenizer.tokens((29, 41))
    larger = tokenizer.decode(latents, size=(58, 82))
    assert torch.allclose(larger, resize(expected, (58, 82)).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_folders_load_as_they_are_or_as_a_part_of_a_pipeline(kind: str, tmp_path: Path) -> None:
    pixels = photograph(0, 20, 24)
    autoencoder(kind).save_pretrained(tmp_path / "pipeline" / "vae")
    for folder in (tmp_path / "pipeline", tmp_path / "pipeline" / "vae"):
        tokenizer = find_tokenizer("diffusers", str(folder))
        report = evaluate_reconstruction(tokenizer, [("a", pixels)])
        expected = psnr(own_reconstruction(kind, pixels), pixels)
        assert report.mean(1) == pytest.approx(expected, abs=1e-3)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    autoencoder("AutoencoderKL").save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ValueError, match="must hold a whole AutoencoderKL with weights as safete"):
        load(str(tmp_path))


def test_models_must_be_there_and_of_these_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with error(
        "The tokenizer 'diffusers' needs a model, but none is named. Pass the folder or hub id of "
        "an AutoencoderKL or AutoencoderDC as `--model`."
    ):
        load(None)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with error(
        "A model of diffusers must be an AutoencoderKL or AutoencoderDC, as config.json says under "
        f"`_class_name`, but {tmp_path} is 'UNet2DModel'. Name the folder of the autoencoder."
    ):
        load(str(tmp_path))

    def no_network(model: str, **options: object) -> None:
        where = "cache" if options.get("local_files_only") else "network"
        raise OSError(f"no {where} here")

    monkeypatch.setattr(import_module("huggingface_hub"), "snapshot_download", no_network)
    with error(
        "`model` must be a folder or a hub id, but 'some/model' is no folder, not in the hub's "
        "cache, and could not be downloaded (no network here). Check the name, or download it on "
        "another machine."
    ):
        load("some/model")


def test_what_it_cannot_do_is_refused() -> None:
    tokenizer = DiffusersAutoencoder(autoencoder("AutoencoderKL"))
    with error("`levels` must be 1 or None, but is 2. This tokenizer has no more."):
        tokenizer.encode(photograph(), levels=2)
    with error(
        "This tokenizer takes pictures, but `fps` is 24. Leave `fps` out and pass (b, 3, H, W)."
    ):
        tokenizer.encode(photograph(), fps=24)
    with error("`patches` must be None, but is 8. This tokenizer's patches have a fixed size."):
        tokenizer.encode(photograph(), patches=8)
    with error(
        "`pixels` must be floats (b, 3, H, W) in [0, 1], but are torch.float32 (1, 1, 9, 9). "
        "Pass RGB pictures."
    ):
        tokenizer.encode(torch.zeros(1, 1, 9, 9))
    with error(
        "Pictures must have more than half a token of 4 pixels on each side, but this one is "
        "17x2. Enlarge it."
    ):
        tokenizer.encode(torch.zeros(1, 3, 2, 17))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "diffusers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with error(
        "diffusers is needed here, but it is not installed. Install it with "
        "`pip install 'dcs-eval[diffusers]'`."
    ):
        load(str(tmp_path))
