"""The command says in one line what it did."""

import argparse
from pathlib import Path

import pytest

from dcs_dit.data import LatentCache, cache_command
from dcs_dit.data.cache_command import parse_size

from .labelled_files import ToyTokenizer, class_folder, flat_folder, run_command, table


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, out = flat_folder(tmp_path / "pictures", 3), tmp_path / "cache"
    rows = [[f"{i}.png", name] for i, name in enumerate(("owl", "bee", "owl"))]
    labels = table(tmp_path / "labels.csv", ["name", "class"], *rows)
    said = run_command(
        pictures, "--output", out, "--labels", labels, "--tokenizer", "toy", "--size", "24x12",
        "--patches", 4, "--levels", 2, "--flip", "--samples-per-shard", 4, "--batch-size", 3,
        "--dtype", "float32",
    )  # fmt: skip
    assert said == (
        f"wrote {out}: 2 shards (0 kept) of 6 samples, 1 x 4 x 8 patches, 2 levels of 2 channels, "
        "2 classes"
    )
    assert capsys.readouterr() == ("", "")
    cache = LatentCache.open(out)
    assert (cache.size, cache.grid, cache.label_names) == ((12, 24), (1, 4, 8), ("bee", "owl"))
    assert (cache.plan.dtype, cache.plan.flips) == ("float32", True)
    assert (cache.tokenizer_name, cache.tokenizer_model) == ("toy", None)


def test_what_other_jobs_have_yet_to_do(tmp_path: Path) -> None:
    out = tmp_path / "cache"
    command = [
        class_folder(tmp_path / "pictures"), "--output", out, "--size", 12,
        "--samples-per-shard", 4, "--jobs", 2,
    ]  # fmt: skip
    shape = "17 samples, 1 x 2 x 2 patches, 3 levels of 2 channels, 3 classes"
    assert run_command(*command, "--job", 0) == (
        f"wrote {out}: 3 shards (0 kept) of {shape}; 2 of 5 shards are still missing"
    )
    assert run_command(*command, "--job", 1) == f"wrote {out}: 2 shards (0 kept) of {shape}"
    assert run_command(*command, "--job", 0) == f"wrote {out}: 0 shards (3 kept) of {shape}"


def test_skipped_pictures_are_counted(tmp_path: Path) -> None:
    pictures, out = class_folder(tmp_path / "pictures"), tmp_path / "cache"
    (pictures / "owl" / "owl-0.png").write_bytes(b"")
    assert run_command(pictures, "--output", out, "--size", 12, "--max-corrupt", 0.1) == (
        f"wrote {out}: 1 shards (0 kept) of 17 samples, 1 x 2 x 2 patches, 3 levels of 2 channels, "
        "3 classes, 1 unreadable pictures skipped"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("dcs-tok", "dcs-tok-nano-gen")),
        (["--model", "mine"], ("dcs-tok", "mine")),
        (["--tokenizer", "toy"], ("toy", None)),
        (["--tokenizer", "toy", "--model", "mine"], ("toy", "mine")),
    ],
)
def test_the_tokenizer_is_found_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: tuple[str, str | None],
) -> None:
    asked = []

    def find_tokenizer(name: str, model: str | None) -> ToyTokenizer:
        asked.append((name, model))
        return ToyTokenizer()

    monkeypatch.setattr(cache_command, "find_tokenizer", find_tokenizer)
    parser = argparse.ArgumentParser()
    cache_command.add_arguments(parser)
    pictures = flat_folder(tmp_path / "pictures", 1)
    given = [str(pictures), "--output", str(tmp_path / "cache"), *arguments]
    cache_command.run(parser.parse_args(given))
    assert asked == [expected]


def test_sizes() -> None:
    assert parse_size("128") == (128, 128)
    assert parse_size("192x128") == (128, 192)


@pytest.mark.parametrize("text", ["0", "x", "128x", "0x4", "-4", "1e3"])
def test_what_is_no_size(text: str) -> None:
    message = f"^must be pixels such as 128 or 192x128, but is '{text}'$"
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        parse_size(text)


def test_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = argparse.ArgumentParser(prog="dcs-dit cache")
    cache_command.add_arguments(parser)
    assert all(len(line) <= 80 for line in parser.format_help().splitlines())
