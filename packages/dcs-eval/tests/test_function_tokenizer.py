"""Plain functions as tokenizers, given as objects and by name."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dcs_common.entry_points import find_tokenizer
from dcs_common.protocols import ImageTokenizer
from dcs_common.resample import resize
from dcs_eval import evaluate_reconstruction
from dcs_eval.adapters.function_tokenizer import FunctionTokenizer, load

from .conftest import photograph
from .errors import error

SOURCE = """
from torch.nn.functional import avg_pool2d, interpolate
from dcs_eval.adapters.function_tokenizer import FunctionTokenizer

def brighter(pictures):
    return pictures + 0.1

def encode(pictures):
    return avg_pool2d(pictures, 4)

def decode(code):
    return interpolate(code, scale_factor=4)

counted = FunctionTokenizer(brighter, tokens=3)
seven = 7
"""


def encode(pictures: Tensor) -> Tensor:
    return avg_pool2d(pictures, 4)


def decode(code: Tensor) -> Tensor:
    return code.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "own_functions.py").write_text(SOURCE)
    return tmp_path / "own_functions.py"


def test_one_function_is_called_with_the_pictures() -> None:
    tokenizer = FunctionTokenizer(lambda pictures: pictures + 0.1)
    grey = torch.full((1, 3, 13, 17), 0.25)
    report = evaluate_reconstruction(tokenizer, [("grey", grey)], scales=(1.0, 2.0))
    assert isinstance(tokenizer, ImageTokenizer)
    assert report.mean(1) == pytest.approx(20, abs=1e-4)
    assert report.mean(1, 2.0) > 100  # resized, so that it agrees with itself
    assert tokenizer.tokens is None  # nothing says it


def test_two_functions_are_one_after_the_other() -> None:
    tokenizer = FunctionTokenizer(encode, decode, channels=3)
    picture = photograph(0, 20, 24)
    latents = tokenizer.encode(picture)
    expected = decode(encode(picture)).clamp(0, 1)
    assert torch.equal(tokenizer.decode(latents), expected)
    assert torch.equal(tokenizer.decode(latents, size=(10, 12)), resize(expected, (10, 12)))
    assert tokenizer.tokens is not None
    assert tokenizer.tokens((20, 24)) == 5 * 6
    assert tokenizer.config.latent_channels == 3


@pytest.mark.parametrize(
    ("code", "tokens"),
    [
        (torch.zeros(2, 5, 3, 7), 21),  # a map
        (torch.zeros(2, 11, 5), 11),  # a row of vectors
        (torch.zeros(2, 13, dtype=torch.int64), 13),  # a row of indices
        (torch.zeros(2, 3, 5, dtype=torch.int32), 15),  # a map of indices
    ],
)
def test_tokens_are_counted_in_the_code(code: Tensor, tokens: int) -> None:
    tokenizer = FunctionTokenizer(lambda pictures: code, lambda code: code)
    tokenizer.encode(torch.zeros(2, 3, 17, 19))
    assert tokenizer.tokens is not None
    assert tokenizer.tokens((17, 19)) == tokens
    with error(
        "Tokens must be counted in a code that is a tensor, but that of a picture of 5x4 is none, "
        "or was not encoded yet. Pass `tokens`."
    ):
        tokenizer.tokens((4, 5))


def test_tokens_may_be_given() -> None:
    fixed = FunctionTokenizer(decode, tokens=32).tokens
    by_size = FunctionTokenizer(encode, decode, tokens=lambda size: size[0] * size[1] // 256).tokens
    assert fixed is not None and by_size is not None
    assert (fixed((64, 128)), by_size((64, 128))) == (32, 32)
    assert by_size((128, 128)) == 64


def test_functions_are_found_by_file_and_by_module(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = torch.full((1, 3, 12, 16), 0.25)
    monkeypatch.syspath_prepend(str(source.parent))
    for place in (str(source), source.stem):
        one = find_tokenizer("python", f"{place}:brighter")
        assert torch.equal(one.decode(one.encode(grey)), grey + 0.1)
        two = find_tokenizer("python", f"{place}:encode,decode")
        assert torch.equal(two.decode(two.encode(grey)), grey)
        given = find_tokenizer("python", f"{place}:counted")
        assert isinstance(given, FunctionTokenizer)
        assert given.tokens is not None
        assert given.tokens((9, 9)) == 3
    monkeypatch.delitem(sys.modules, source.stem)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            None,
            "The tokenizer 'python' needs a model of the form module:function, file.py:function or "
            "file.py:encode,decode, but `--model` is None.",
        ),
        (
            "file.py:a,b,c",
            "The tokenizer 'python' needs a model of the form module:function, file.py:function or "
            "file.py:encode,decode, but `--model` is 'file.py:a,b,c'.",
        ),
        ("{source}:nothing", "{source} must define nothing, but does not. Check the name."),
        (
            "{source}:seven",
            "{source}:seven must be a function or a tokenizer, but is a int. Name the function "
            "that takes pictures.",
        ),
        (
            "no_such_module:f",
            "The code of a tokenizer must be importable, but no_such_module is not "
            "(ModuleNotFoundError: No module named 'no_such_module'). Correct it, or check the "
            "path.",
        ),
    ],
)
def test_models_must_name_functions(model: str | None, message: str, source: Path) -> None:
    with error(message.format(source=source)):
        load(model and model.format(source=source))


def test_what_functions_return_is_checked() -> None:
    picture = photograph(0, 12, 16)

    def returned(value: object) -> FunctionTokenizer:
        return FunctionTokenizer(lambda pictures: value)

    with error(
        "The function must return reconstructions of shape (1, 3, 12, 16), but returned "
        "(1, 3, 6, 8). Return one picture of the same size for each."
    ):
        returned(picture[..., ::2, ::2]).decode(returned(picture[..., ::2, ::2]).encode(picture))
    for value, what in (
        (picture.mul(255).byte(), "torch.uint8"),
        (picture / 0, "values that are not finite"),
    ):
        with error(
            f"The function must return floats in [0, 1], but returned {what}. "
            "Convert bytes with `/ 255`, and look for a division by zero."
        ):
            returned(value).decode(returned(value).encode(picture))
    with error(
        "The function must return reconstructions of shape (1, 3, 12, 16), but returned a list. "
        "Return one picture of the same size for each."
    ):
        returned([]).decode(returned([]).encode(picture))
