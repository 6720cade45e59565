"""Files that were written once are read to the same integers, now and on every machine.

``golden/make_golden.py`` wrote them, with a model of random weights.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dcs_tok import DCSTok
from dcs_tok.compression.codec import codec_of
from dcs_tok.compression.compress import compress
from dcs_tok.compression.container import read_file, write_file
from dcs_tok.compression.level_coding import SymbolCode
from dcs_tok.compression.quantiser import area_class
from dcs_tok.compression.symbol_coder import SHIFTS, Tables

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("picture", "clip")
TOKENIZER, ENTROPY_MODEL = "81e78a8c4b2e2811", "bceb07913f580b7c"


@pytest.fixture(scope="module")
def tok() -> DCSTok:
    return DCSTok.from_pretrained(GOLDEN / "model")


def expected(name: str) -> dict[str, np.ndarray]:
    content = json.loads((GOLDEN / "expected.json").read_text())[name]
    return {key: np.array(values) for key, values in content.items()}


@pytest.mark.parametrize("name", NAMES)
def test_symbols_and_map_are_read_bit_for_bit(name: str, tok: DCSTok) -> None:
    content = read_file((GOLDEN / f"{name}.dcs").read_bytes())
    header, wanted = content.header, expected(name)
    assert np.array_equal(header.levels, wanted["levels"])
    code = SymbolCode(codec_of(tok).model)
    area = area_class(header.size, header.levels.shape)
    symbols, held = code.decode(content.chunks, header.levels, header.quality, area)
    assert np.array_equal(symbols, wanted["symbols"])
    assert np.array_equal(held, wanted["levels"])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_symbols_are_written_bit_for_bit(name: str, tok: DCSTok) -> None:
    data = (GOLDEN / f"{name}.dcs").read_bytes()
    header, wanted = read_file(data).header, expected(name)
    area = area_class(header.size, header.levels.shape)
    coded = SymbolCode(codec_of(tok).model).encode(
        wanted["symbols"].astype(np.float64), wanted["levels"], header.quality, area, 0
    )
    assert write_file(header, [chunk for chunks, _ in coded for chunk in chunks]) == data


@pytest.mark.parametrize("name", NAMES)
def test_pixels_agree_within_a_tenth_of_an_8_bit_step(name: str, tok: DCSTok) -> None:
    latents, content = codec_of(tok).read((GOLDEN / f"{name}.dcs").read_bytes())
    assert not content.is_cut
    pixels = tok.decode(latents, (6, 8)).reshape(3, -1, 6, 8)[:, -1]
    wanted = torch.from_numpy(expected(name)["last_frame_at_6_x_8"]).float() / 1e4
    torch.testing.assert_close(pixels, wanted, rtol=0, atol=0.1 / 255)


def test_the_model_is_the_one_that_wrote_them(tok: DCSTok) -> None:
    """Both fingerprints come out the same: floats and integers are hashed as bytes."""
    assert tok.fingerprint == TOKENIZER
    assert codec_of(tok).model.fingerprint == ENTROPY_MODEL
    for name in NAMES:
        header = read_file((GOLDEN / f"{name}.dcs").read_bytes()).header
        assert header.entropy_model == ENTROPY_MODEL


def test_the_golden_files_have_everything(tok: DCSTok) -> None:
    """Escapes, low bits, means and both kinds of segments; what is not there is not tested."""
    model = codec_of(tok).model
    probabilities = Tables(model.tensors["tables"]).probabilities
    assert len(np.unique(probabilities)) > 1000
    picture, clip = (expected(name)["symbols"] for name in NAMES)
    for symbols in (picture, clip):
        assert np.abs(symbols).max() > (17 << SHIFTS.max())
        assert (np.abs(symbols) == 1).any()
    assert sorted(np.unique(expected("picture")["levels"])) == [1, 2]
    assert len(clip) > 6
    header = read_file((GOLDEN / "clip.dcs").read_bytes()).header
    assert header.phase
    assert header.fps.denominator > 1


def test_the_golden_model_compresses(tok: DCSTok) -> None:
    pixels = torch.full((1, 3, 12, 12), 0.25)
    assert compress(pixels, tok, quality=40) == compress(pixels, tok, quality=40)
