"""``dcs-eval generation`` end to end on files, and its refusals."""

import csv
import json
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from dcs_eval import generation_command
from dcs_eval.cli import main
from dcs_eval.eight_bit import to_image
from dcs_eval.labelled_files import find_labelled, find_levels

from .errors import error
from .plain_features import MeanColours, coloured
from .test_cli import refusal
from .test_metrics import random_trunk


def write(folder: Path, pictures: Tensor, labels: list[str] | None) -> None:
    """Save pictures in folders by class, or side by side."""
    for index, picture in enumerate(pictures):
        place = folder / labels[index] if labels else folder
        place.mkdir(parents=True, exist_ok=True)
        to_image(picture[None]).save(place / f"{index:05}.png")


def pack(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Samples of two levels and two seeds, reference pictures, and training pictures in a zip."""
    for seed in (0, 1):
        for level in (1, 2):
            write(tmp_path / f"seed-{seed}" / f"level-{level}", *coloured(12, 10 * seed + level))
    (tmp_path / "seed-0" / "settings.json").write_text("{}")
    write(tmp_path / "reference", *coloured(21, 3))
    write(tmp_path / "unpacked", coloured(30, 4)[0], None)
    pack(tmp_path / "unpacked", tmp_path / "train.zip")
    with (tmp_path / "classes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "split", "class"])
        writer.writerows(
            [f"{index:05}.png", "train", label] for index, label in enumerate(coloured(30, 4)[1])
        )
    return tmp_path


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_command, "SqueezeNetFeatures", lambda *_: MeanColours())


@pytest.mark.usefixtures("plain")
def test_generation_of_two_seeds(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "deep" / "result"
    arguments = [data / "seed-0", data / "seed-1", "--reference", data / "reference"]
    arguments += ["--train", data / "train.zip", "--labels", data / "classes.csv", "--output", out]
    assert main(["generation", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == (out / "report.md").read_text("utf-8") + (
        f"\nwrote report.json, report.md, nearest.csv, nearest.png into {out}\n"
    )
    assert said.out.startswith(
        "12 samples at each level, 2 seeds (± 95 % t interval over them), against 21 pictures of "
        "the reference; 30 pictures of training.\n"
    )
    content = json.loads((out / "report.json").read_text("utf-8"))
    assert len(content["rows"]) == 4
    assert content["rows"][0]["probe"]["blue"]["of"] == 4
    with (out / "nearest.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 4 * 12
    assert rows[1][0] == str(data / "seed-0" / "level-1" / "blue" / "00000.png")
    assert rows[1][1].startswith(str(data / "train.zip"))
    with Image.open(out / "nearest.png") as sheet:
        assert sheet.size == (3 * 400, 18 + 8 * 132)


def test_generation_through_the_network(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(random_trunk(), data / "squeezenet.pth")
    out = data / "result"
    arguments = [data / "seed-0", "--reference", data / "reference", "--output", out]
    assert (
        main(["generation", *map(str, arguments), "--weights", str(data / "squeezenet.pth")]) == 0
    )
    said = capsys.readouterr()
    assert "| Fréchet distance on squeezenet1_1-pool |" in said.out
    assert "12 samples and 21 reference pictures are too few for 512 features" in said.out
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "report.md"]


@pytest.mark.usefixtures("plain")
def test_generation_without_classes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(data / "flat" / "level-3", coloured(12)[0], None)
    out = data / "result"
    arguments = [data / "flat", "--reference", data / "reference", "--train", data / "train.zip"]
    assert main(["generation", *map(str, arguments), "--output", str(out)]) == 0
    assert "recognised" not in capsys.readouterr().out
    assert (out / "nearest.png").is_file()


def test_bad_samples_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("generation", data / "seed-0", "--reference", data / "reference")
    extra = data / "seed-0" / "level-2" / "pink"
    write(extra, coloured(1)[0], None)
    assert refusal(capsys, *command) == (
        "Every level must have as many samples, as distances depend on the number, but there are: "
        "level 1 12, level 2 13. Sample again what is missing."
    )
    (data / "seed-0" / "level-2" / "red" / "00002.png").unlink()
    torch.save(random_trunk(), data / "squeezenet.pth")
    assert refusal(capsys, *command, "--weights", data / "squeezenet.pth") == (
        "Classes must be those of the reference (blue, green, red), but level 2 has pink. "
        "Rename or remove it."
    )
    (extra / "00000.png").write_bytes(b"no picture")
    said = refusal(capsys, *command, "--output", data / "out")
    assert said.startswith(
        f"The input must be a whole picture that Pillow can read, but {extra / '00000.png'} is not"
    )
    assert not (data / "out").exists()
    assert refusal(capsys, "generation", data, "--reference", data / "reference") == (
        f"Samples must lie in folders level-1, level-2, ..., but {data} has none. "
        "Give the folder that holds them."
    )
    assert refusal(capsys, "generation", data / "x", "--reference", data / "reference") == (
        f"Samples must lie in folders level-1, level-2, ..., but {data / 'x'} is no folder. "
        "Give the folder that holds them."
    )


def test_bad_references_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "empty").mkdir()
    command = ("generation", data / "seed-0", "--reference")
    assert refusal(capsys, *command, data / "empty") == (
        f"There must be pictures in the reference, but {data / 'empty'} holds none."
    )
    assert refusal(capsys, *command, data / "x") == (
        f"Pictures must be in a folder or a zip, but {data / 'x'} does not exist. Check the path."
    )
    assert refusal(capsys, *command, data / "classes.csv") == (
        f"Pictures must be in a folder or a zip, but {data / 'classes.csv'} is neither. "
        "Check the path."
    )


def test_levels_are_found_in_order(tmp_path: Path) -> None:
    for level in (10, 2, 1):
        write(tmp_path / f"level-{level}", coloured(2)[0], None)
    write(tmp_path / "level-0", coloured(2)[0], None)
    found = find_levels(tmp_path)
    assert list(found) == [1, 2, 10]
    assert found[1].labels is None
    (tmp_path / "level-3").mkdir()
    with error(f"There must be pictures in level 3, but {tmp_path / 'level-3'} holds none."):
        find_levels(tmp_path)


def test_generation_reads_folders_and_zips_alike(data: Path) -> None:
    pack(data / "reference", data / "reference.zip")
    folder, archive = find_labelled([data / "reference"]), find_labelled([data / "reference.zip"])
    assert [file.name for file in folder.files] == [file.name for file in archive.files]
    assert folder.labels == archive.labels == ("blue",) * 7 + ("green",) * 7 + ("red",) * 7
    assert all(map(torch.equal, folder, archive))
    assert torch.equal(archive[4], folder[4])
    assert len(find_labelled([data / "reference", data / "reference.zip"])) == 42


def test_tables_name_classes_for_generation(data: Path) -> None:
    table = data / "classes.csv"
    assert find_labelled([data / "train.zip"], table).labels == tuple(coloured(30)[1])
    assert find_labelled([data / "train.zip"]).labels is None
    # A folder says more than a table.
    assert (
        find_labelled([data / "reference"], table).labels
        == find_labelled([data / "reference"]).labels
    )
    write(data / "unpacked" / "red", coloured(1)[0], None)
    with error(
        "Either all pictures of the reference must have a class or none, but 30 of 31 are in no "
        f"folder, {data / 'unpacked' / '00000.png'} first. Move them, or give a table."
    ):
        find_labelled([data / "unpacked"])


def test_bad_tables_for_generation(data: Path) -> None:
    table = data / "bad.csv"
    with error(f"A table of classes must exist, but {table} does not. Check the path."):
        find_labelled([data / "train.zip"], table)
    table.write_text("file,label\n")
    with error(
        f"A table of classes must have the columns name and class, but {table} has file, label. "
        "Rename them."
    ):
        find_labelled([data / "train.zip"], table)
    table.write_text("name,class\n00000.png,red\n")
    with error(
        f"The table must name the class of every picture, but {table} lacks 00001.png, which is in "
        f"{data / 'train.zip'}. Add a row, or leave the picture out."
    ):
        find_labelled([data / "train.zip"], table)
    table.write_text("name,class\n00000.png,red\n00000.png,blue\n")
    with error(
        f"Every picture must have one class, but in {table} 00000.png has the classes red and "
        "blue. Correct it."
    ):
        find_labelled([data / "train.zip"], table)
    table.write_text("name,class\n00000.png,\n")
    with error(
        f"Every picture must have one class, but in {table} 00000.png has none. Correct it."
    ):
        find_labelled([data / "train.zip"], table)
    table.write_bytes(b"name,class\n\xff\xfe,red\n")
    with pytest.raises(ValueError, match=r"^A table of classes must be CSV in UTF-8, but "):
        find_labelled([data / "train.zip"], table)


def test_a_damaged_picture_in_a_zip_is_named(data: Path) -> None:
    with zipfile.ZipFile(data / "bad.zip", "w") as archive:
        archive.writestr("a/0.png", b"no picture")
    with error(
        "The input must be a whole picture that Pillow can read, but "
        f"{data / 'bad.zip' / 'a' / '0.png'} is not (it knows no such format). "
        "Convert it, or check that it was copied completely."
    ):
        list(find_labelled([data / "bad.zip"]))
    torn = bytearray((data / "train.zip").read_bytes())
    torn[60:80] = bytes(20)
    (data / "torn.zip").write_bytes(torn)
    with pytest.raises(ValueError, match=r"^Every file in a zip must be whole, but \S+torn\.zip"):
        list(find_labelled([data / "torn.zip"]))
