"""What ships in the wheel: small files that load, rebuild a photo, and know their own latents."""

import json

import pytest
import torch

from dcs_common import psnr, resize
from dcs_tok import DCSTok, compress, decompress
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel
from dcs_tok.demo import PHOTO
from dcs_tok.pictures import read_picture
from dcs_tok.tokenizer import WEIGHTS

# PSNR of the demo's photo at short side 128 and 8 patches, from 1 level and from all.
EXPECTED = {
    "dcs-tok-nano": (24.0, 33.0),
    "dcs-tok-nano-rate": (24.0, 32.0),
    "dcs-tok-nano-gen": (22.5, 28.0),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_bundled_model_rebuilds_a_photo(name: str) -> None:
    assert sorted(DCSTok.bundled) == sorted(EXPECTED)
    tok = DCSTok.from_pretrained(name)
    photo = resize(read_picture(PHOTO).pixels, (128, 160)).clamp(0, 1)
    latents = tok.encode(photo, patches=8)
    found = [psnr(step.pixels, photo) for step in tok.decode_progressive(latents)]
    assert found[0] > EXPECTED[name][0]
    assert found[-1] > EXPECTED[name][1]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_bundled_folder_is_small_and_knows_its_latents(name: str) -> None:
    folder = WEIGHTS / name
    assert (folder / "model.safetensors").stat().st_size < 12 * 2**20
    tok = DCSTok.from_pretrained(name)
    content = json.loads((folder / "latent_statistics.json").read_text())
    assert content["tokenizer"] == tok.fingerprint
    photo = resize(read_picture(PHOTO).pixels, (128, 160)).clamp(0, 1)
    tokens = tok.encode(photo, patches=8).tokens.flatten(0, 3)
    mean, std = torch.tensor(content["mean"]), torch.tensor(content["std"])
    assert mean.shape == std.shape == (tok.config.num_levels, tok.config.latent_channels)
    normal = (tokens - mean) / std
    assert float(normal.square().mean()) == pytest.approx(1, abs=0.7)


@pytest.mark.parametrize(
    ("model", "most_bytes", "least_psnr"),
    [(None, 550, 25.5), ("dcs-tok-nano-rate", 550, 25.5), ("dcs-tok-nano", 600, 24.5)],
)
def test_a_bundled_model_compresses_and_its_files_find_it(
    model: str | None, most_bytes: int, least_psnr: float
) -> None:
    photo = resize(read_picture(PHOTO).pixels, (128, 160)).clamp(0, 1)
    data = compress(photo, model, quality=30, patches=8)
    assert len(data) < most_bytes
    assert psnr(decompress(data), photo) > least_psnr


@pytest.mark.parametrize("name", ["dcs-tok-nano", "dcs-tok-nano-rate"])
def test_a_bundled_entropy_model_is_small_and_of_its_weights(name: str) -> None:
    assert (WEIGHTS / name / ENTROPY_FILE).stat().st_size < 2 * 2**20
    EntropyModel.of(DCSTok.from_pretrained(name))
