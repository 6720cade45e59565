"""Latent files: what is saved comes back, and a damaged file is one clear error."""

import json
import re
from collections.abc import Callable
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcs_common.latents import LATENT_FORMAT, Latents

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def make(level_map: Tensor, dtype: torch.dtype = torch.float32, **about: object) -> Latents:
    n = int(level_map.max())
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(*level_map.shape, n, 5, generator=generator)
    tokens = tokens * (torch.arange(n) < level_map.unsqueeze(-1)).unsqueeze(-1)
    about = {"size": (17, 19), **about}
    return Latents(tokens=tokens.to(dtype), levels=level_map, **about)  # type: ignore[arg-type]


def small() -> Latents:
    return make(torch.tensor([[[[1, 2, 2], [2, 1, 2]]], [[[1, 1, 2], [1, 1, 1]]]]))


def assert_equal(first: Latents, second: Latents) -> None:
    assert first.tokens.dtype == second.tokens.dtype
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.levels, second.levels)
    for name in ("size", "fps", "frames", "phase", "tokenizer"):
        assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_precision_comes_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    latents = make(small().levels, dtype, tokenizer="0123456789abcdef")
    latents.save(tmp_path / "a.latents")
    assert_equal(Latents.load(tmp_path / "a.latents"), latents)


@given(
    data=st.data(),
    shape=st.tuples(*(st.integers(1, most) for most in (3, 3, 5, 7))),
    fps=st.fractions(1, 120, max_denominator=1001),
    phase=st.fractions(0, F(999, 1000), max_denominator=1001),
    frames=st.integers(1, 99),
)
def test_clips_and_ragged_maps_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    shape: tuple[int, int, int, int],
    fps: F,
    phase: F,
    frames: int,
) -> None:
    size = torch.Size(shape).numel()
    counts = data.draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    level_map = torch.tensor(counts).view(shape)
    latents = make(level_map, fps=fps, phase=phase, frames=frames)
    path = tmp_path_factory.mktemp("files") / "clip"
    latents.save(str(path))
    assert_equal(Latents.load(str(path)), latents)


def test_dropped_tokens_are_not_stored(tmp_path: Path) -> None:
    latents = small()
    latents.save(tmp_path / "a")
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / "a").items()}
    assert shapes == {"levels": (2, 1, 2, 3), "level.1": (12, 5), "level.2": (5, 5)}


def test_tokens_above_a_patchs_levels_come_back_as_zero(tmp_path: Path) -> None:
    latents = small()
    noisy = Latents(tokens=latents.tokens + 1, levels=latents.levels, size=latents.size)
    noisy.save(tmp_path / "a")
    is_active = (torch.arange(2) < latents.levels.unsqueeze(-1)).unsqueeze(-1)
    assert torch.equal(Latents.load(tmp_path / "a").tokens, noisy.tokens * is_active)


def test_equal_latents_give_equal_bytes(tmp_path: Path) -> None:
    """Whatever order the library's hash maps have; tensors stay aligned to eight bytes."""
    for i in range(20):
        small().save(tmp_path / f"{i}")
    (data,) = {path.read_bytes() for path in tmp_path.iterdir()}
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert (list(header), length % 8) == (sorted(header), 0)
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_tensors_of_a_graph_can_be_saved(tmp_path: Path) -> None:
    latents = Latents(tokens=small().tokens.requires_grad_(), size=(17, 19))
    latents.save(tmp_path / "a")
    assert torch.equal(Latents.load(tmp_path / "a").tokens, latents.tokens.detach())


def why_unreadable(path: Path) -> str:
    """Return what the library says; its wording is not ours."""
    try:
        with safe_open(path, framework="pt"):
            raise AssertionError(f"{path} can be read")
    except SafetensorError as error:
        return str(error)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    small().save(tmp_path / "a")
    whole, cut = (tmp_path / "a").read_bytes(), tmp_path / "cut"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        message = (
            f"A latent file must be a whole safetensors file, but {cut} cannot be read "
            f"({why_unreadable(cut)}). It may be cut short or another kind of file; write it again."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Latents.load(cut)


@given(position=st.integers(0, 10**4), value=st.integers(0, 255))
def test_a_file_with_a_wrong_byte_is_refused_or_read_as_latents(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    """There is no checksum: a changed number may pass. Nothing but ValueError may be raised."""
    path = tmp_path_factory.mktemp("files") / "a"
    small().save(path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        latents = Latents.load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert latents.tokens.isfinite().all()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(999)])
def test_other_kinds_of_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^A latent file must be a whole safetensors file, but "):
        Latents.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        message = f"A latent file must exist, but {path} does not. Check the path."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Latents.load(path)


Change = Callable[[dict[str, Any], dict[str, Tensor], dict[str, str]], object]


def saved_with(folder: Path, change: Change) -> Path:
    """Save small latents after a change of (about, tensors, metadata)."""
    small().save(folder / "whole")
    tensors = load_file(folder / "whole")
    with safe_open(folder / "whole", framework="pt") as file:
        metadata = file.metadata()
    about = json.loads(metadata["about"])
    change(about, tensors, metadata)
    if metadata.get("about") and change.__name__ != "keep_about":
        metadata["about"] = json.dumps(about)
    save_file(tensors, folder / "changed", metadata)
    return folder / "changed"


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "weights.safetensors"
    for metadata in (None, {"format": "pt"}, {"kind": "dcs-model", "format": "1"}):
        save_file({"weight": torch.zeros(3)}, foreign, metadata)
        message = (
            f"A latent file must be of the kind 'dcs-latents', but {foreign} is not. "
            "Write it with `Latents.save` or `dcs-tok encode`."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Latents.load(foreign)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = saved_with(tmp_path, lambda _a, _t, meta: meta.update(format=str(LATENT_FORMAT + 1)))
    message = f"The latent format must be 1, but {path} has format '2'. Update dcs-common."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Latents.load(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a, t, m: t["level.2"].fill_(torch.nan), "tokens that are not finite"),
        (lambda a, t, m: t["level.1"][3].fill_(-torch.inf), "tokens that are not finite"),
        (lambda a, t, m: t.update({"level.2": torch.ones(1, 5)}), "level 2 does not hold 5 tokens"),
        (lambda a, t, m: t.update({"level.2": torch.ones(5)}), "level 2 does not hold 5 tokens"),
        (lambda a, t, m: t.update({"level.2": torch.ones(5, 1)}), "level 2 does not hold 5 tokens"),
        (
            lambda a, t, m: t.update({"level.1": torch.ones(7, 5)}),
            "level 1 does not hold 12 tokens",
        ),
        (
            lambda a, t, m: t.update({"level.1": torch.ones(0, 2**40)}),
            "level 1 does not hold 12 tokens",
        ),
        (lambda a, t, m: t.update({"level.1": t["level.1"].long()}), "wrong shapes or types"),
        (lambda a, t, m: t.update(levels=t["levels"][0]), "wrong shapes or types"),
        (lambda a, t, m: t.pop("levels"), "'levels'"),
        (lambda a, t, m: t.pop("level.1"), "'level.1'"),
        (
            lambda a, t, m: t.pop("level.2"),
            "`levels` must be between 1 and 1, but range from 1 to 2.",
        ),
        (lambda a, t, m: t["levels"].fill_(0), "level 1 does not hold 0 tokens"),
        (
            lambda a, t, m: t.update({f"level.{i}": torch.ones(1) for i in range(3, 99)}),
            "98 levels",
        ),
        (lambda a, t, m: a.update(phase="1/0"), "Fraction(1, 0)"),
        (lambda a, t, m: a.update(fps="1/0"), "Fraction(1, 0)"),
        (
            lambda a, t, m: a.update(phase="3/2"),
            "`phase` must be a part of a segment in [0, 1), but is 3/2. "
            "It is 0 unless the clip came as a stream.",
        ),
        (lambda a, t, m: a.update(frames=float("inf")), "cannot convert float infinity to integer"),
        (
            lambda a, t, m: a.update(frames=5),
            "An image has one frame in one segment and a clip needs `fps`, but `fps` is None for 5 "
            "frames in 1 segments.",
        ),
        (
            lambda a, t, m: a.update(size=[1, 1]),
            "`size` must be (height, width) with at least one pixel per patch of the 2 x 3 grid, "
            "but is (1, 1).",
        ),
        (lambda a, t, m: a.pop("size"), "'size'"),
        (lambda a, t, m: m.pop("about"), "'about'"),
    ],
)
def test_inconsistent_files_are_refused(tmp_path: Path, change: Change, why: str) -> None:
    path = saved_with(tmp_path, change)
    message = f"A latent file must be consistent, but {path} is not ({why}). Write it again."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Latents.load(path)


@pytest.mark.parametrize("about", ["", "{", "[]", "3", "null", "[" * 10**5])
def test_a_damaged_description_is_refused(tmp_path: Path, about: str) -> None:
    def keep_about(_about: object, _tensors: object, metadata: dict[str, str]) -> None:
        metadata["about"] = about

    path = saved_with(tmp_path, keep_about)
    opening = re.escape(f"A latent file must be consistent, but {path} is not (")
    with pytest.raises(ValueError, match=rf"^{opening}.+\)\. Write it again\.$"):
        Latents.load(path)
