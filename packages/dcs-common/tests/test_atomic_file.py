"""A file is whole or not there, whatever stops its writing."""

import os
import re
from pathlib import Path

import pytest
import torch

from dcs_common.atomic_file import write_atomically
from dcs_common.latents import Latents


def latents(value: float) -> Latents:
    return Latents(tokens=torch.full((1, 1, 2, 3, 2, 5), value), size=(17, 19))


def test_content_and_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"old")
    write_atomically(tmp_path / "whole", b"old")
    write_atomically(tmp_path / "whole", b"new")
    assert (tmp_path / "whole").read_bytes() == b"new"
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "whole"]


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("failure", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [False, True])
def test_a_stopped_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    failure: BaseException,
    exists: bool,
) -> None:
    path = tmp_path / "a.latents"
    if exists:
        latents(1.0).save(path)

    def fail(*_args: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(failure)):
            latents(2.0).save(path)
    if exists:
        assert torch.equal(Latents.load(path).tokens, latents(1.0).tokens)
    assert [other.name for other in tmp_path.iterdir()] == ["a.latents"] * exists


def test_nothing_is_at_the_path_before_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace, sizes = tmp_path / "a", os.replace, []

    def watch(source: str, target: str) -> None:
        assert not path.exists()
        sizes.append(os.path.getsize(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(path, bytes(12345))
    assert sizes == [12345]
    assert path.read_bytes() == bytes(12345)


def test_a_missing_folder_is_an_error_of_the_caller(tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    message = f"The output's folder must exist, but {folder} does not. Create it first."
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        write_atomically(folder / "x", b"new")
    assert not folder.exists()
