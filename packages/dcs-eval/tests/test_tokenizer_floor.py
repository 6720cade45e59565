"""Real pictures through a tokenizer: distances in a closed form, streamed, and the commands."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from dcs_eval import (
    FeatureStatistics,
    PictureSet,
    TokenizedPictures,
    evaluate_generation,
    frechet_distance,
    generation_command,
    tokenizer_arguments,
    tokenizer_floor,
)
from dcs_eval.cli import main
from dcs_eval.tokenizer_floor import TokenizerFloor, measure_floor

from .errors import error
from .plain_features import MeanColours, coloured
from .test_cli import refusal
from .test_generation_command import write


class Darker:
    """Level count m of 3 decodes pictures ``(4 - m) / 8`` darker, by as many with other patches."""

    config = SimpleNamespace(num_levels=3)

    def __init__(self) -> None:
        self.encoded: list[tuple[int, dict[str, int]]] = []

    def encode(self, pixels: Tensor, *, levels: int, **options: int) -> Tensor:
        self.encoded.append((levels, options))
        return pixels / options.get("patches", 1)

    def decode(self, latents: Tensor, *, size: tuple[int, int], levels: int) -> Tensor:
        assert size == tuple(latents.shape[-2:])
        return latents - (4 - levels) / 8


def bright(count: int = 9, side: int = 24) -> Tensor:
    """Pictures that stay above 0 when they are made darker."""
    return (128 + coloured(count, 1, side)[0].mul(255).round() / 2).floor() / 255


def measured(pictures: Tensor | Iterator[Tensor], **options: object) -> tuple[TokenizerFloor, ...]:
    space, given = MeanColours(), pictures.split(1) if isinstance(pictures, Tensor) else pictures
    real = FeatureStatistics.of(space(bright()))
    tokenizer = options.pop("tokenizer", None) or Darker()
    return measure_floor(
        "darker",
        TokenizedPictures(tokenizer=tokenizer, pictures=given, source="the reference", **options),  # type: ignore[arg-type]
        space,
        real,
    )


def test_a_shift_of_colour_is_that_distance() -> None:
    """All 12 features move by (4 - m) / 8 to 8 bits, and nothing else changes."""
    found = measured(bright())
    for floor, steps in zip(found, (96, 64, 32), strict=True):  # of 1/255
        assert floor.frechet == pytest.approx(12 * (steps / 255) ** 2, rel=1e-2)
    assert [(floor.level, floor.pictures, floor.patches) for floor in found] == [
        (level, 9, None) for level in (1, 2, 3)
    ]


def test_the_real_pictures_themselves_are_no_distance_away() -> None:
    class Whole(Darker):
        def decode(self, latents: Tensor, *, size: tuple[int, int], levels: int) -> Tensor:
            return latents

    assert measured(bright(), tokenizer=Whole())[0].frechet == pytest.approx(0, abs=1e-9)


def test_pictures_are_encoded_once_and_patches_passed_on_where_given() -> None:
    tokenizer = Darker()
    measured(bright(4), tokenizer=tokenizer, levels=(2, 1))
    assert tokenizer.encoded == [(2, {})] * 4
    found = measured(bright(4), tokenizer=tokenizer, levels=(3,), patches=2)
    assert tokenizer.encoded[4:] == [(3, {"patches": 2})] * 4
    assert found[0].patches == 2
    assert found[0].frechet > 0.5  # halved, and darker


def test_batches_are_bounded_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(bright(7))
    monkeypatch.setattr(tokenizer_floor, "_PIXELS", 3 * 2 * 24 * 24)  # two pictures of 3 levels
    space = MeanColours()
    given = TokenizedPictures(
        tokenizer=Darker(),  # type: ignore[arg-type]
        pictures=bright(7).split(1),
        source="the reference",
    )
    real = FeatureStatistics.of(space(bright()))
    space.sizes.clear()
    again = measure_floor("darker", given, space, real)
    assert space.sizes == [2] * 9 + [1] * 3
    for one, other in zip(whole, again, strict=True):
        assert one.frechet == pytest.approx(other.frechet, rel=1e-9)


def test_pictures_may_have_several_sizes() -> None:
    small, large = bright(3), bright(4, side=32)
    found = measured(iter([*small.split(1), *large.split(1)]), levels=(3,))
    space = MeanColours()
    rows = torch.cat([space((some - 32 / 255).clamp(0, 1)) for some in (small, large)])
    expected = frechet_distance(FeatureStatistics.of(rows), FeatureStatistics.of(space(bright())))
    assert found[0].frechet == pytest.approx(expected, rel=1e-3)


def test_what_cannot_go_through() -> None:
    with error(
        "A Fréchet distance needs at least 2 pictures on each side, but 1 of the reference went "
        "through darker. Add pictures."
    ):
        measured(bright(1))
    with error(
        "A Fréchet distance needs at least 2 pictures on each side, but 0 of the reference went "
        "through darker. Add pictures."
    ):
        measured(iter([]))
    with error(
        "`levels` must be between 1 and 3, but is (4,). This tokenizer has 3 levels.",
    ):
        measured(bright(), levels=(4,))
    with error(
        "Each picture must be a float tensor (1, 3, H, W) in [0, 1], but picture number 0 of the "
        "reference is torch.float32 (1, 1, 24, 24). Pass RGB, one picture at a time."
    ):
        measured(bright()[:, :1])

    class Broken(Darker):
        def decode(self, latents: Tensor, *, size: tuple[int, int], levels: int) -> Tensor:
            latents = latents.clone()
            latents[..., 0, 0] = torch.nan
            return latents

    with error(
        "A tokenizer must decode to finite numbers, but 3 of 1728 of picture number 0 of the "
        "reference at 1 level are not. Check its weights, or compute in float32."
    ):
        measured(bright(), tokenizer=Broken())


def test_reports_have_rows_of_real_pictures_between_samples_and_training() -> None:
    samples = {level: PictureSet(pictures=bright(12)) for level in (1, 2)}
    given = TokenizedPictures(
        tokenizer=Darker(),  # type: ignore[arg-type]
        pictures=bright().split(1),
        source="the reference",
        levels=(1, 2),
    )
    report = evaluate_generation(
        samples,
        PictureSet(pictures=bright()),
        features=MeanColours(),
        train=PictureSet(pictures=bright(20)),
        floors={"darker": given},
    )
    lines = report.table().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| level 1",
        "| level 2",
        "| 9 pictures of the reference through darker, level 1",
        "| 9 pictures of the reference through darker, level 2",
        "| 12 pictures of training",
        "| all of training",
        "| reference",
    ]
    assert len({line.count("|") for line in lines}) == 1
    assert report.floors == measured(bright(), levels=(1, 2))
    assert f"| {report.floors[1].frechet:.1f} | – |" in lines[5]
    assert "nothing was generated" in report.summary()
    assert report.content()["floors"][1] == {
        "tokenizer": "darker",
        "source": "the reference",
        "pictures": 9,
        "patches": None,
        "level": 2,
        "frechet": report.floors[1].frechet,
    }


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Samples of two levels, six of each; nine real pictures, and five others."""
    for level in (1, 2):
        write(tmp_path / "samples" / f"level-{level}", bright(6), None)
    write(tmp_path / "real", bright(9), None)
    write(tmp_path / "others", bright(5), None)
    monkeypatch.setattr(generation_command, "SqueezeNetFeatures", lambda *_: MeanColours())
    monkeypatch.setattr(tokenizer_arguments, "find_tokenizer", lambda name, model: Darker())
    return tmp_path


def test_the_command_takes_as_many_pictures_as_samples_and_their_levels(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generation", data / "samples", "--reference", data / "real"]
    command += ["--floor", "a=runs/x/model", "a=runs/x/model", "--floor-patches", 1, 2]
    assert main([*map(str, command), "--output", str(data / "out")]) == 0
    assert capsys.readouterr().err == ""
    found = json.loads((data / "out" / "report.json").read_text("utf-8"))
    assert found["format"] == 2
    assert [
        (row["tokenizer"], row["level"], row["pictures"], row["source"]) for row in found["floors"]
    ] == [
        (f"a=model at {k} patches", level, 6, "the reference") for k in (1, 2) for level in (1, 2)
    ]
    # Evenly spread over the nine: every one and a half.
    chosen = bright()[[0, 1, 3, 4, 6, 7]]
    expected = measured(chosen, levels=(1, 2), patches=1)
    assert found["floors"][0]["frechet"] == pytest.approx(expected[0].frechet, rel=1e-6)


def test_the_command_takes_other_pictures_levels_and_numbers(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generation", data / "samples", "--reference", data / "real", "--floor", "a"]
    command += ["--floor-data", data / "others", "--floor-levels", 3, "--floor-pictures", 4]
    assert main([*map(str, command), "--output", str(data / "out")]) == 0
    assert f"| 4 pictures of {data / 'others'} through a, level 3 |" in capsys.readouterr().out


def test_floors_that_cannot_be_measured(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "out"
    command = ("generation", data / "samples", "--reference", data / "real", "--output", out)
    assert refusal(capsys, *command, "--floor-patches", 4) == (
        "`--floor-patches` is of the tokenizers of `--floor`, but there is no `--floor`. Name "
        "tokenizers, or leave it out."
    )
    assert refusal(capsys, *command, "--floor", "a", "b", "--floor-patches", 1, 2, 3) == (
        "`--floor-patches` must be one number or one for each tokenizer, but there are 3 for 2. "
        "Give as many, or one."
    )
    assert refusal(capsys, *command, "--floor", "a=x", "a=x") == (
        "Each tokenizer must come once, but a=x came twice. Leave one."
    )
    assert refusal(capsys, *command, "--floor", "a", "--floor-data", data / "none") == (
        f"Pictures must be in a folder or a zip, but {data / 'none'} does not exist. "
        "Check the path."
    )
    fvd = (*command, "--protocol", "ucf101-gfvd", "--weights", "x", "--floor", "a")
    assert refusal(capsys, *fvd) == (
        "`--floor` is of pictures, but ucf101-gfvd is of clips. Leave it out."
    )
    (data / "adm.npz").touch()
    fid = ("generation", data / "samples", "--protocol", "imagenet256-gfid", "--floor", "a")
    assert refusal(capsys, *fid, "--reference", data / "adm.npz") == (
        "`--floor` compares with pictures, but the reference of imagenet256-gfid is a file of "
        "statistics. Leave it out, or decode real pictures into folders level-1, level-2, ... and "
        "give these as samples."
    )
    assert refusal(capsys, "compare", "--floor", "a", "--tokenizers", "a", "--data", data) == (
        "`--floor` stands beside generators, but there is no `--samples`. Name their samples, or "
        "tokenizers under `--tokenizers`."
    )
    assert not out.exists()
