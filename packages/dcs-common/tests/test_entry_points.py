"""Codecs and tokenizers are found by name, through the metadata of a package made for the test."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dcs_common import PictureCodec, codec_names, find_codec, find_tokenizer, tokenizer_names

SOURCE = """
from types import SimpleNamespace
import torch

class Raw:
    name = "Raw"
    settings = (1.0,)
    def compress(self, pixels, setting):
        return bytes(pixels.mul(255).round().byte().flatten().tolist())
    def decompress(self, data):
        return torch.tensor(list(data)).view(1, 3, 5, -1) / 255

class Tokenizer:
    def __init__(self, model):
        self.config = SimpleNamespace(num_levels=3, model=model)
    def encode(self, pixels, fps=None, levels=None, patches=None): ...
    def decode(self, latents, size=None, fps=None, levels=None): ...
"""
OFFERS = """
[dcs.codecs]
raw = offered_for_a_test:Raw
no-codec = offered_for_a_test:SimpleNamespace
no-module = offered_nowhere:Raw
no-name = offered_for_a_test:Absent
[dcs.tokenizers]
some = offered_for_a_test:Tokenizer
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "offered_for_a_test.py").write_text(SOURCE)
    metadata = tmp_path / "offered_for_a_test-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(OFFERS)
    monkeypatch.syspath_prepend(tmp_path)


def error(message: str) -> Any:
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_a_codec_is_found_and_keeps_a_picture() -> None:
    codec = find_codec("raw")
    picture = torch.randint(0, 256, (1, 3, 5, 7)) / 255
    assert isinstance(codec, PictureCodec)
    assert (codec.name, codec.settings) == ("Raw", (1.0,))
    assert torch.equal(codec.decompress(codec.compress(picture, 1.0)), picture)


@pytest.mark.parametrize("model", [None, "a/folder"])
def test_a_tokenizer_gets_the_model_that_was_asked_for(model: str | None) -> None:
    tokenizer = find_tokenizer("some", model)
    assert tokenizer.config == SimpleNamespace(num_levels=3, model=model)


def test_names_are_sorted() -> None:
    assert {"no-codec", "no-module", "no-name", "raw"} <= set(codec_names())
    assert list(codec_names()) == sorted(codec_names())
    assert "some" in tokenizer_names()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with error(
        f"The name of a codec must be one of {', '.join(codec_names())}, but is 'rwa'. "
        "Install a package that offers it under the entry points 'dcs.codecs'."
    ):
        find_codec("rwa")


def test_where_nothing_is_installed_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcs_common.entry_points.entry_points", lambda group: ())
    with error(
        "The name of a tokenizer must be that of an installed one, but is 'some'. "
        "Install a package that offers it under the entry points 'dcs.tokenizers'."
    ):
        find_tokenizer("some")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no-module",
            "The codec 'no-module' must load from offered_nowhere:Raw, but does not (No module "
            "named 'offered_nowhere'). Install its package again, with the extra that it names.",
        ),
        (
            "no-name",
            "The codec 'no-name' must load from offered_for_a_test:Absent, but does not (module "
            "'offered_for_a_test' has no attribute 'Absent'). Install its package again, with the "
            "extra that it names.",
        ),
        (
            "no-codec",
            "The codec 'no-codec' must be a PictureCodec, but offered_for_a_test:SimpleNamespace "
            "returned a SimpleNamespace. Report it to its package.",
        ),
    ],
)
def test_what_does_not_load_is_one_clear_error(name: str, message: str) -> None:
    with error(message):
        find_codec(name)
