"""``dcs-eval compare`` end to end on files, and its refusals."""

import json
from pathlib import Path

import pytest

from dcs_eval import compare_command, tokenizer_arguments
from dcs_eval.cli import main
from dcs_eval.eight_bit import to_image
from dcs_eval.labelled_files import LabelledFiles, find_files, find_labelled

from .conftest import photograph
from .plain_features import MeanColours, coloured
from .plain_tokenizers import Offset, Pooling
from .test_cli import refusal
from .test_compare_generators import WRITTEN
from .test_generation_command import pack, write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    place.mkdir()
    for index in range(2):
        to_image(photograph(index, 64, 64)).save(place / f"p{index}.png")
    pack(place, tmp_path / "photos.zip")
    return place


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Two generators: one of two seeds and levels with times, one of a single level."""
    place = tmp_path / "samples"
    for name, levels in {"ours-0": (1, 2), "ours-1": (1, 2), "rival": (1,)}.items():
        for level in levels:
            write(place / name / f"level-{level}", *coloured(12, len(name) + level))
    (place / "ours-0" / "sampling.json").write_text(json.dumps(WRITTEN | {"samples": 12}))
    write(place / "reference", *coloured(21, 3))
    write(place / "train", *coloured(30, 4))
    return place


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    asked: list[tuple[str, str | None]] = []

    def find(name: str, model: str | None) -> object:
        asked.append((name, model))
        return Pooling(4) if name == "pooling" else Offset(0.0, 2)

    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", find)
    monkeypatch.setattr(compare_command, "SqueezeNetFeatures", lambda *_: MeanColours())
    return asked


def test_tokenizers_and_generators_at_once(
    photos: Path,
    samples: Path,
    plain: list[tuple[str, str | None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = photos.parent / "deep" / "result"
    arguments = ["--tokenizers", "pooling=some/model", "offset", "--data", f"{photos}.zip"]
    arguments += ["--short-sides", "32", "16", "--metrics", "psnr", "--target-psnr", "19"]
    arguments += ["--samples", f"ours={samples / 'ours-0'},{samples / 'ours-1'}"]
    arguments += [f"rival={samples / 'rival'}", "--reference", str(samples / "reference")]
    arguments += ["--train", str(samples / "train"), "--output", str(out)]
    arguments += ["--floor", "pooling=some/model", "offset"]
    assert main(["compare", *arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    report = (out / "compare.md").read_text("utf-8")
    assert said.out == f"{report}\nwrote compare.md and compare.json into {out}\n"
    assert plain == [("pooling", "some/model"), ("offset", None)] * 2
    rows = [line.split(" | ")[:3] for line in report.splitlines() if line.startswith("| ")]
    assert rows[1:8] == [
        ["| ---", "---:", "---:"],
        ["| pooling=model", "1", "16"],
        ["| pooling=model", "1", "32"],
        ["| pooling=model", "2", "16"],
        ["| pooling=model", "2", "32"],
        ["| offset", "1", "16"],
        ["| offset", "1", "32"],
    ]
    assert "| offset | 1 | 32 | 64 | – | 20.00 ± 0.00 |" in report
    assert "| ours | 2 |" in report and "| rival | 1 |" in report
    assert "1.50 | 20.00 |" in report
    content = json.loads((out / "compare.json").read_text("utf-8"))
    assert content["format"] == 2
    assert set(content) == {
        *("floors", "format", "generators", "per_doubling", "pictures", "scales", "target_psnr")
    }
    assert [(row["tokenizer"], row["level"], row["pictures"]) for row in content["floors"]] == [
        ("pooling=model", 1, 12),
        ("pooling=model", 2, 12),
        ("offset", 1, 12),
    ]
    assert "| 12 pictures of the reference through offset | 1 |" in report
    assert "nothing was generated" in report
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "compare.md"]


def test_models_of_one_name_are_told_apart(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos.parent / "out"
    common = ["--data", str(photos), "--short-sides", "16", "--metrics", "psnr"]
    assert (
        main(
            [
                "compare",
                "--tokenizers",
                "x=runs/a/last",
                "x=runs/b/last",
                *common,
                "--output",
                str(out),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "| x=a/last | 1 |" in said and "| x=b/last | 1 |" in said
    assert refusal(capsys, "compare", "--tokenizers", "x=a", "x=a", *common) == (
        "Each tokenizer must come once, but x=a came twice. Leave one."
    )


def test_comparisons_that_lack_something(
    photos: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "compare") == (
        "There must be something to compare, but neither `--tokenizers` nor `--samples` is given. "
        "Name tokenizers and pictures, or generators and their samples."
    )
    assert refusal(capsys, "compare", "--tokenizers", "x") == (
        "`--tokenizers` and `--data` go together, but there is `--tokenizers` alone. Add `--data`."
    )
    rival = f"rival={samples / 'rival'}"
    assert refusal(capsys, "compare", "--samples", rival, "--data", photos) == (
        "`--tokenizers` and `--data` go together, but there is `--data` alone. Add `--tokenizers`."
    )
    assert refusal(capsys, "compare", "--samples", rival) == (
        "`--samples` and `--reference` go together, but there is `--samples` alone. "
        "Add `--reference`."
    )


def test_pictures_that_cannot_be_compared(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("compare", "--tokenizers", "x", "--output", tmp_path / "out", "--data")
    said = refusal(capsys, *command, photos)
    assert said == (
        "Pictures must have at least 512 pixels on the short side, as enlarged ones hold no more "
        "than before, but p0.png is 64x64. Leave it out, or that side."
    )
    (tmp_path / "empty").mkdir()
    assert refusal(capsys, *command, tmp_path / "empty") == (
        f"There must be pictures in {tmp_path / 'empty'}, but it holds none."
    )
    assert refusal(capsys, *command, photos, f"{photos}.zip") == (
        f"Each picture must have a name of its own, but {photos / 'p0.png'} and "
        f"{photos}.zip/p0.png have the same. Rename one."
    )
    (photos / "bad.png").write_bytes(b"no picture")
    assert refusal(capsys, *command, photos).startswith(
        "The input must be a whole picture that Pillow can read, but "
    )
    assert not (tmp_path / "out").exists()


def test_samples_that_cannot_be_compared(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = ("--reference", samples / "reference", "--output", tmp_path / "out")
    rival = samples / "rival"
    for text in ("rival", "rival=", f"={rival}", f"rival={rival},"):
        assert refusal(capsys, "compare", "--samples", text, *real) == (
            "`--samples` must be NAME=FOLDER, or NAME=FOLDER,FOLDER for several seeds, but is "
            f"{text!r}. Name the generator and its folders."
        )
    assert refusal(capsys, "compare", "--samples", f"a={rival}", f"a={rival}", *real) == (
        "Each generator must come once, but a came twice. Give its folders at once, with commas "
        "between them."
    )
    ours = f"ours={samples / 'ours-0'}"
    (rival / "level-1" / "red" / "00002.png").unlink()
    assert refusal(capsys, "compare", "--samples", ours, f"rival={rival}", *real) == (
        "Every generator must have as many samples, as distances depend on the number, but there "
        "are: ours 12, rival 11. Sample what is missing, or move what is too much elsewhere."
    )
    (samples / "ours-0" / "sampling.json").write_text(json.dumps(WRITTEN))
    assert refusal(capsys, "compare", "--samples", ours, *real) == (
        "sampling.json must be of the samples beside it, but "
        f"{samples / 'ours-0' / 'sampling.json'} is of 30 and there are 12. Sample again, or "
        "remove it to leave times out."
    )
    assert not (tmp_path / "out").exists()


def test_pictures_of_files_folders_and_zips(photos: Path) -> None:
    single = find_files([photos / "p1.png"])
    assert list(single) == ["p1.png"]
    assert single["p1.png"].source == photos
    assert (
        list(find_files([photos]))
        == list(find_files([Path(f"{photos}.zip")]))
        == [
            "p0.png",
            "p1.png",
        ]
    )
    assert list(find_files([photos], 1)) == ["p0.png"]


def test_a_digest_is_of_names_classes_and_contents(photos: Path, tmp_path: Path) -> None:
    folder, archive = find_labelled([photos]), find_labelled([Path(f"{photos}.zip")])
    assert folder.digest == archive.digest
    assert len(folder.digest) == 64
    one = folder[:1]
    assert isinstance(one, LabelledFiles)
    assert [file.name for file in one.files] == ["p0.png"]
    assert one.digest != folder.digest
    (photos / "p0.png").rename(photos / "a.png")
    renamed = find_labelled([photos])
    assert renamed.digest != archive.digest
    table = tmp_path / "classes.csv"
    table.write_text("name,class\np0.png,red\np1.png,blue\n")
    assert find_labelled([Path(f"{photos}.zip")], table).digest != archive.digest
