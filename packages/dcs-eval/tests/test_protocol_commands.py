"""``--protocol`` end to end, with small counts and a network that is none, and its refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcs_eval import generation_command, reconstruction_command, tokenizer_arguments
from dcs_eval.cli import main
from dcs_eval.distribution.frechet import FeatureStatistics, frechet_distance
from dcs_eval.distribution.inception_score import inception_score
from dcs_eval.distribution.precision_recall import precision_recall
from dcs_eval.eight_bit import to_image
from dcs_eval.labelled_files import find_labelled
from dcs_eval.protocols.pictures import DecodedPictures, ProtocolPictures
from dcs_eval.protocols.presets import PROTOCOLS, find_protocol

from .conftest import photograph
from .plain_features import MeanColours, coloured
from .plain_tokenizers import Offset
from .test_cli import refusal
from .test_compare_generators import WRITTEN
from .test_generation_command import write


class Classifying(MeanColours):
    """Mean colours under the name of the network that FID needs; logits and places of them."""

    name = "inception-2015-12-05"
    classes = 3
    spatial_size = 5

    def features_and_logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self(pictures)
        return features, 20 * features.unflatten(1, (3, 4)).mean(2)

    def features_logits_and_spatial(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, logits = self.features_and_logits(pictures)
        return features, logits, 3 * features[:, 4:9]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let protocols take 12 samples, or 4 pictures, of 24 pixels a side."""

    def find(name: str, task: Any) -> object:
        protocol = find_protocol(name, task)
        count = 12 if task == "generation" else 4
        held = None if protocol.reference_count is None else 10
        return replace(protocol, count=count, reference_count=held, sizes=((24, 24),))

    for command in (generation_command, reconstruction_command):
        monkeypatch.setattr(command, "find_protocol", find)
        monkeypatch.setattr(command, "protocol_space", lambda *_: Classifying())
    monkeypatch.setattr(generation_command, "SqueezeNetFeatures", lambda *_: MeanColours())
    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", lambda *_: Offset())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index in range(4):
        place = tmp_path / "val" / "n0144"
        place.mkdir(parents=True, exist_ok=True)
        to_image(photograph(index, 53, 67)).save(place / f"ILSVRC2012_val_{index}.png")
    for seed in range(3):
        for level in (1, 2):
            write(tmp_path / f"seed-{seed}" / f"level-{level}", *coloured(12, 9 * seed + level))
    write(tmp_path / "held-out", *coloured(21, 3))
    write(tmp_path / "train", *coloured(30, 4))
    real = coloured(10, 5)[0]
    features = MeanColours()(real).double()
    np.savez(
        tmp_path / "adm.npz",
        mu=features.mean(0).numpy(),
        sigma=np.cov(features.numpy(), rowvar=False),
        mu_s=features[:, 1:6].mean(0).numpy(),
        sigma_s=np.cov(features[:, 1:6].numpy(), rowvar=False),
        arr_0=real.mul(255).round().byte().permute(0, 2, 3, 1).numpy(),
    )
    return tmp_path


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def protocol_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "protocol.json").read_text("utf-8"))


def taken(place: Path) -> Tensor:
    return torch.cat(list(find_labelled([place])))


@pytest.mark.usefixtures("small")
def test_gfid_is_that_of_the_features(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "out"
    command = ("generation", data / "seed-0", "--protocol", "imagenet256-gfid", "--output", out)
    run(*command, "--reference", data / "adm.npz")
    said = capsys.readouterr()
    assert said.err == ""
    found = protocol_json(out)
    space, real = Classifying(), coloured(10, 5)[0]
    features, logits = space.features_and_logits(taken(data / "seed-0" / "level-2"))
    reference = FeatureStatistics.of(space(real))
    expected = frechet_distance(FeatureStatistics.of(features), reference)
    second = found["values"][1]
    assert second["level"] == 2
    assert second["frechet"] == pytest.approx(expected, rel=1e-5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert second["score"]["mean"] == pytest.approx(inception_score(logits[order]).mean, rel=1e-5)
    coverage = precision_recall(features, space(real))
    assert (second["coverage"]["precision"], second["coverage"]["recall"]) == (
        coverage.precision,
        coverage.recall,
    )
    assert second["kernel"]["subset_size"] == 10
    assert found["rows"][1] == [
        "seed-0, level 2",
        f"{expected:.2f}",
        f"{second['spatial']:.2f}",
        f"{second['score']['mean']:.1f}",
        f"{coverage.precision:.3f}",
        f"{coverage.recall:.3f}",
        *["not run"] * 5,
    ]
    # sFID is of other numbers of the samples, against other statistics of the reference.
    spatial = frechet_distance(
        FeatureStatistics.of(3 * features[:, 4:9]), FeatureStatistics.of(space(real)[:, 1:6])
    )
    assert second["spatial"] == pytest.approx(spatial, rel=1e-5)
    report = (out / "report.md").read_text("utf-8")
    assert said.out == f"{report}\nwrote protocol.json, report.md into {out}\n"
    assert f"- reference: {data / 'adm.npz'} (10 pictures, SHA-256 " in report
    assert "- feature space: inception-2015-12-05" in report
    assert found["packages"]["torch"] == torch.__version__
    assert len(found["reference_sha256"]) == 64

    # What was taken is kept: a second run reads no sample's features anew.
    before = {path: path.stat().st_mtime_ns for path in (out / "features").rglob("*.safetensors")}
    assert len(before) == 3
    (data / "seed-0" / "sampling.json").write_text(
        json.dumps(
            {
                "format": 1,
                "samples": 12,
                "steps": [5],
                "first_preview_seconds": 1,
                "seconds": 2,
                "device": "cpu",
                "guidance_scale": 4.0,
            }
        )
    )
    run(*command, "--reference", data / "adm.npz")
    after = {path: path.stat().st_mtime_ns for path in (out / "features").rglob("*.safetensors")}
    assert before == after
    # Samples with guidance stand in the columns of these.
    assert protocol_json(out)["rows"][1][1:] == ["not run"] * 5 + found["rows"][1][1:6]


@pytest.mark.usefixtures("small")
def test_what_gfid_refuses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("generation", data / "seed-0", "--protocol", "imagenet256-gfid")
    said = refusal(capsys, *command, "--reference", data / "held-out")
    assert said.endswith(f"but {data / 'held-out'} is a folder. Download it and give its path.")
    with np.load(data / "adm.npz") as whole:
        np.savez(data / "no-pictures.npz", mu=whole["mu"], sigma=whole["sigma"])
    out = data / "out"
    said = refusal(capsys, *command, "--reference", data / "no-pictures.npz", "--output", out)
    assert said == (
        "The reference of imagenet256-gfid must hold 10 pictures (arr_0) for precision and recall, "
        f"but {data / 'no-pictures.npz'} holds none. Give VIRTUAL_imagenet256_labeled.npz as it "
        "was published."
    )
    real = (*command, "--reference", data / "adm.npz")
    assert refusal(capsys, *real, "--labels", "classes.csv") == (
        "imagenet256-gfid takes no notice of the classes of real pictures, but there is `--labels` "
        "classes.csv. Leave it out."
    )
    assert refusal(capsys, *real, "--train", data / "train") == (
        "imagenet256-gfid compares with its reference alone, but there is `--train`. Leave it out."
    )
    assert refusal(capsys, *real, "--seed", 5) == (
        "imagenet256-gfid draws with the seed 0, but `--seed` is 5. Leave it out, or `--protocol`."
    )
    (data / "seed-0" / "level-2" / "red" / "00002.png").unlink()
    assert refusal(capsys, *real) == (
        "imagenet256-gfid takes 12 samples at each level, as distances depend on the number, but "
        "there are 11. Give as many, or leave `--protocol` out."
    )
    large = data / "large"
    for level in (1, 2):
        write(large / f"level-{level}", *coloured(12, 1, side=28))
    said = refusal(
        capsys,
        "generation",
        large,
        "--protocol",
        "imagenet256-gfid",
        "--reference",
        data / "adm.npz",
    )
    assert said == (
        "Pictures of imagenet256-gfid must have 24x24 pixels, but "
        f"{large / 'level-1' / 'blue' / '00000.png'} has 28x28. Give those of that size; "
        "it never resizes."
    )
    assert not out.exists()


@pytest.mark.usefixtures("small")
def test_small_data_has_a_protocol_of_its_own(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    seeds = [data / f"seed-{seed}" for seed in range(3)]
    command = ("--protocol", "squeezenet128-gfd", "--reference", data / "held-out")
    run("generation", *seeds, *command, "--train", data / "train", "--output", out)
    said = capsys.readouterr().out
    assert said.startswith("| model | Fréchet distance on squeezenet1_1-pool | recognised, % |")
    report = json.loads((out / "report.json").read_text("utf-8"))
    found = protocol_json(out)
    values = [row["frechet"] for row in report["rows"] if row["level"] == 2]
    assert found["values"][1]["frechet"]["mean"] == pytest.approx(sum(values) / 3)
    assert found["rows"][1][1].startswith(f"{sum(values) / 3:.1f} ± ")
    assert found["reference_sha256"] == find_labelled([data / "held-out"]).digest
    assert found["counts"] == {"samples at each level and seed": 12, "seeds": 3}
    assert "wrote report.json, report.md, protocol.json, nearest.csv, nearest.png into" in said
    assert refusal(capsys, "generation", *seeds[:2], *command) == (
        "squeezenet128-gfd takes samples of 3 seeds, but there are 2 folders. "
        "Give one for each seed."
    )
    write(data / "other", *coloured(21, 3, side=28))
    said = refusal(capsys, "generation", *seeds, *command[:2], "--reference", data / "other")
    assert said == (
        "Pictures of squeezenet128-gfd must have 24x24 pixels, but "
        f"{data / 'other' / 'blue' / '00000.png'} has 28x28. Give those of that size; "
        "it never resizes."
    )
    (data / "seed-1" / "sampling.json").write_text(json.dumps(WRITTEN | {"samples": 12}))
    assert refusal(capsys, "generation", *seeds, *command) == (
        "Samples of all seeds must be made with guidance or all without, but "
        f"{data / 'seed-1' / 'sampling.json'} says with, and {data / 'seed-0'} does not. Evaluate "
        "one kind at a time."
    )
    (data / "seed-1" / "sampling.json").unlink()
    said = refusal(capsys, "generation", *seeds, *command, "--train", data / "held-out")
    assert said.endswith("is given as training pictures, too. Give held-out ones.")


@pytest.mark.usefixtures("small")
def test_rfid_is_against_the_pictures_themselves(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    command = ("reconstruction", "--protocol", "imagenet256-rfid", "--data", data / "val")
    run(*command, "--output", out, "--tokenizer", "some", "--metrics", "psnr")
    said = capsys.readouterr().out
    protocol = replace(PROTOCOLS["imagenet256-rfid"], sizes=((24, 24),))
    pictures = ProtocolPictures(protocol, find_labelled([data / "val"]))
    decoded = DecodedPictures(
        pictures,
        Offset(),  # type: ignore[arg-type]
        1,
        name="some",
        device=torch.device("cpu"),
    )
    space = Classifying()
    sides = [
        torch.cat([some[index] for index in range(4)]).mul(255).round().div(255)
        for some in (decoded, pictures)
    ]
    expected = frechet_distance(*(FeatureStatistics.of(space(side)) for side in sides))
    assert expected > 1e-3
    found = protocol_json(out)
    assert found["values"][0]["frechet"] == pytest.approx(expected, rel=1e-4)
    assert found["rows"] == [
        ["some, 1 level", found["rows"][0][1], "not run", "not run", f"{expected:.2f}"]
    ]
    assert found["rows"][0][1] == "20.00 ± 0.00"
    assert "- size: centre crop to 24x24: halved by box filter, then bicubic (ADM)" in said
    assert f"- reference: {data / 'val'} (4 pictures, SHA-256 " in said
    assert sorted(path.name for path in out.iterdir()) == [
        *("features", "protocol.json", "reconstruction.json", "reconstruction.md"),
    ]


@pytest.mark.usefixtures("small")
def test_what_reconstruction_protocols_refuse(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("reconstruction", "--protocol", "imagenet256-rfid", "--data", data / "val")
    said = refusal(capsys, *command, "--reference", data / "adm.npz")
    assert "is a file of statistics, and against those of a training set" in said
    said = refusal(capsys, *command, "--reference", data / "train")
    assert said.endswith(f"but {data / 'train'} is other pictures. Leave `--reference` out.")
    for option in ("--scales", "--pictures", "--fps", "--frames", "--rates"):
        assert refusal(capsys, *command, option, 2) == (
            "imagenet256-rfid says itself which pictures are decoded and how, but there is "
            f"`{option}`. Leave it out, or `--protocol`."
        )
    assert refusal(capsys, *command, "--seed", 5) == (
        "imagenet256-rfid draws with the seed 0, but `--seed` is 5. Leave it out, or `--protocol`."
    )
    kodak = ("reconstruction", "--protocol", "kodak", "--data", data / "val")
    assert refusal(capsys, *kodak, "--weights", "x.pth") == (
        "kodak takes features of no network, but there is `--weights` x.pth. Leave it out."
    )
    assert refusal(capsys, *command[:3], "--data", data / "train") == (
        "imagenet256-rfid takes 4 pictures, as distances depend on the number, but there are 30. "
        "Give as many, or leave `--protocol` out."
    )
    (data / "val" / "n0144" / "ILSVRC2012_val_3.png").rename(
        data / "val" / "n0144" / "n01440764_3.png"
    )
    said = refusal(capsys, *command)
    assert "n0144/n01440764_3.png has the name of a training picture." in said
    said = refusal(capsys, "reconstruction", "--protocol", "kodak", "--data", data / "val")
    assert said == (
        "Pictures of kodak must have 24x24 pixels, but n0144/ILSVRC2012_val_0.png has 67x53. "
        "Give those of that size; it never resizes."
    )
    assert refusal(capsys, "reconstruction", "--data", data, "--weights", "x.pth") == (
        "`--weights` is of a protocol, but there is no `--protocol`. Leave it out, or name one of "
        "imagenet256-rfid, ucf101-rfvd, squeezenet128-rfd, kodak."
    )


def test_protocols_are_named_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command, name in (("reconstruction", "imagenet256-rfid"), ("generation", "ucf101-gfvd")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert name in capsys.readouterr().out.replace("\n", "").replace(" ", "")
