"""Measuring codecs whose bytes and errors are known, and the record of it."""

import json
from dataclasses import replace
from math import inf, log10
from pathlib import Path

import pytest
import torch

from dcs_eval import MeasuredPicture, RateDistortion, RatePoint, rate_distortion

from .coarse_codec import CoarseCodec, LosslessCodec
from .conftest import photograph
from .errors import error

DARK = ("dark", torch.zeros(1, 3, 10, 20))
GREY = ("grey", torch.full((1, 3, 20, 40), 51 / 255))


def measured(**changes: object) -> RateDistortion:
    arguments = {"codecs": {"coarse": CoarseCodec()}, "pictures": [DARK, GREY], **changes}
    return rate_distortion(**arguments)


def test_bits_and_decibels_by_hand() -> None:
    record = measured()
    assert [(p.picture, p.setting, p.num_bytes) for p in record.points] == [
        (name, setting, setting) for name in ("dark", "grey") for setting in (5, 17, 51, 85)
    ]
    for point in record.points:
        pixels = {"dark": 200, "grey": 800}[point.picture]
        assert point.bpp == pytest.approx(8 * point.num_bytes / pixels)
        assert point.psnr == pytest.approx(20 * log10(point.setting), abs=1e-4)
        assert (point.ssim, point.lpips) == (None, None)
    means = record.means("coarse")
    assert [point.bpp for point in means] == pytest.approx([0.125, 0.425, 1.275, 2.125])
    assert means[0].quality["psnr"].mean == pytest.approx(20 * log10(5), abs=1e-4)
    assert record.psnr_at("coarse", 0.425) == pytest.approx(20 * log10(17), abs=1e-4)


def test_what_comes_back_is_rounded_as_a_screen_rounds_it() -> None:
    """An error of 1/1000 is none in 8 bits."""
    record = measured(codecs={"fine": CoarseCodec(settings=(1000,))})
    assert [point.psnr for point in record.points] == [inf, inf]


def test_two_codecs_differ_by_their_bytes() -> None:
    class Dearer(CoarseCodec):
        def compress(self, pixels: torch.Tensor, setting: float) -> bytes:
            return super().compress(pixels, setting) * 2

        def decompress(self, data: bytes) -> torch.Tensor:
            return super().decompress(data[::2])

    record = measured(codecs={"one": CoarseCodec(), "two": Dearer(name="Dearer")})
    assert record.bd_rate("one", "two") == pytest.approx(1)
    assert record.bd_rate("two", "one") == pytest.approx(-0.5)
    assert "| Dearer | +100.0 % |  |" in record.markdown()


def test_less_is_better_where_it_is() -> None:
    """LPIPS falls along the curve, yet fewer bits are a negative difference."""
    record = measured(lpips=lambda picture, reference: float((picture - reference).abs().mean()))
    assert record.metrics == ("psnr", "lpips")
    assert [point.quality for point in record.curve("coarse", "lpips").points] == pytest.approx(
        [-1 / setting for setting in (5, 17, 51, 85)], abs=1e-6
    )
    cheaper = [replace(p, codec="cheap", bpp=p.bpp * 0.7) for p in record.points]
    both = replace(
        record,
        titles={"coarse": "Coarse", "cheap": "Cheap"},
        versions={"coarse": "", "cheap": ""},
        points=(*record.points, *cheaper),
    )
    assert both.bd_rate("coarse", "cheap", "lpips") == pytest.approx(-0.3)


def test_markdown_tables_by_hand() -> None:
    record = RateDistortion(
        titles={"a": "A", "b": "B"},
        versions={"a": "", "b": ""},
        pictures=(MeasuredPicture(name="p", width=8, height=8, sha256=""),),
        points=tuple(
            RatePoint(codec=c, setting=s, picture="p", num_bytes=1, bpp=f * s, psnr=20 + 10 * s)
            for c, f in (("a", 1.0), ("b", 1.25))
            for s in (0.1, 0.5)
        ),
    )
    assert record.markdown(rates=(0.1, 0.5)) == (
        "Means over 1 picture.\n\n"
        "BD-rate in PSNR, dB: bits that the row needs beyond the column\n\n"
        "| codec | A | B |\n| --- | ---: | ---: |\n| A |  | −20.0 % |\n| B | +25.0 % |  |\n\n"
        "PSNR, dB at equal bits per pixel\n\n"
        "| codec | 0.1 | 0.5 |\n| --- | ---: | ---: |\n| A | 21.00 | 25.00 |\n"
        "| B | – | 24.45 |\n\n"
        "Every setting, with 95 % t intervals over the pictures\n\n"
        "| codec | setting | bits per pixel | PSNR, dB |\n| --- | ---: | ---: | ---: |\n"
        "| A | 0.1 | 0.1000 | 21.00 |\n| A | 0.5 | 0.5000 | 25.00 |\n"
        "| B | 0.1 | 0.1250 | 21.00 |\n| B | 0.5 | 0.6250 | 25.00 |\n"
    )


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    codecs = {"coarse": CoarseCodec(), "lossless": LosslessCodec(name="Löss|ess")}
    record = measured(codecs=codecs, lpips=lambda picture, reference: 0.25)
    assert inf in [point.psnr for point in record.points]
    record.save(tmp_path / "r.json")
    json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert RateDistortion.load(tmp_path / "r.json") == record


def test_settings_that_lose_nothing_are_on_no_curve() -> None:
    record = measured(codecs={"lossless": LosslessCodec()})
    with error(
        "A curve needs at least one point, but Coarse has none. Measure settings that lose "
        "something."
    ):
        record.curve("lossless")
    assert record.bd_text("lossless", "lossless", "psnr") == ""
    assert record.at_text("lossless", 0.1, "psnr") == "–"
    assert "inf" in record.markdown()


def test_what_is_known_is_not_measured_again() -> None:
    codec = CoarseCodec()
    codec.version = "1"  # type: ignore[attr-defined]
    known = measured(codecs={"coarse": codec}, pictures=[DARK])
    codec.calls = 0
    renamed = ("night", DARK[1])
    record = measured(codecs={"coarse": codec}, pictures=[renamed, GREY], known=known)
    assert codec.calls == 4
    assert record == measured(codecs={"coarse": codec}, pictures=[renamed, GREY])


@pytest.mark.parametrize("change", ["version", "no version", "metric", "setting", "pixels"])
def test_what_changed_is_measured_again(change: str) -> None:
    codec = CoarseCodec()
    if change != "no version":
        codec.version = "1"  # type: ignore[attr-defined]
    known = measured(codecs={"coarse": codec}, pictures=[DARK])
    codec.calls = 0
    arguments = {"codecs": {"coarse": codec}, "pictures": [DARK], "known": known}
    if change == "version":
        codec.version = "2"  # type: ignore[attr-defined]
    elif change == "metric":
        arguments["ssim"] = lambda picture, reference: 0.5
    elif change == "setting":
        codec.settings = (6, 18, 52, 86)
    elif change == "pixels":
        arguments["pictures"] = [("dark", DARK[1] + 1 / 255)]
    measured(**arguments)
    assert codec.calls == 4


def test_progress_names_what_comes_next() -> None:
    said: list[str] = []
    measured(progress=said.append)
    assert said == ["dark: Coarse", "grey: Coarse"]


class Cropping(CoarseCodec):
    def decompress(self, data: bytes) -> torch.Tensor:
        return super().decompress(data)[..., 1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codecs": {}}, "`codecs` must hold at least one codec, but is empty."),
        ({"pictures": []}, "`pictures` must hold at least one picture, but is empty."),
        (
            {"pictures": [DARK, DARK]},
            "Each picture must have a name of its own, but 'dark' came twice. Rename one.",
        ),
        (
            {"pictures": [("bytes", photograph().mul(255).byte())]},
            "Each picture must be a float tensor (1, 3, H, W) in [0, 1], but 'bytes' is "
            "torch.uint8 (1, 3, 61, 83). Pass RGB, one picture at a time.",
        ),
        (
            {"codecs": {"cropping": Cropping(name="Cropping")}},
            "A codec must give back a picture of (1, 3, 10, 20), but Cropping at 5 gave "
            "(1, 3, 10, 19). Report it to its package.",
        ),
    ],
)
def test_errors_teach(change: dict[str, object], message: str) -> None:
    with error(message):
        measured(**change)


def test_an_unknown_codec_lists_what_was_measured() -> None:
    with error("`codec` must be one of coarse, which were measured, but is 'x'. Measure it too."):
        measured().psnr_at("x", 0.1)


def test_files_that_are_no_record(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with error(f"A record must exist, but {path} does not. Check the path."):
        RateDistortion.load(path)
    measured().save(path)
    whole = path.read_text()
    path.write_text(whole.replace('"format": 1', '"format": 2'))
    with error(
        f"A record must have format 1, but {path} has 2. "
        "Measure again, or use the release of dcs-eval that wrote it."
    ):
        RateDistortion.load(path)
    for damaged, kind in (
        (whole[:-99], "JSONDecodeError"),
        ("{}", "KeyError"),
        ("3", "AttributeError"),
    ):
        path.write_text(damaged)
        with error(
            f"A record must be a whole file of rate-distortion figures, but {path} is not "
            f"({kind}). Measure again."
        ):
            RateDistortion.load(path)
