"""The page is one well-formed file that asks for nothing, and shows what was measured."""

import base64
import io
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcs_eval import RateDistortion, rate_distortion
from dcs_eval.crops import CropRow, equal_bytes_crops
from dcs_eval.eight_bit import to_bytes
from dcs_eval.page import page
from dcs_eval.plot import Line, plot
from dcs_eval.plot_file import plot_file

from .coarse_codec import CoarseCodec, LosslessCodec
from .conftest import photograph

CODECS = {
    "coarse": CoarseCodec(name="Coarse <1> & Co"),
    "dear": CoarseCodec(name="Dear", settings=(9, 30, 85)),
    "lossless": LosslessCodec(name="Lossless"),
}


@pytest.fixture(scope="module")
def record() -> RateDistortion:
    pictures = [('a "quoted" <name>', photograph(0)), ("b", photograph(1, 40, 50))]
    return rate_distortion(CODECS, pictures, ssim=lambda p, r: 0.5 + float(p.mean()) / 4)


@pytest.fixture(scope="module")
def row(record: RateDistortion) -> CropRow:
    name = record.pictures[0].name
    return equal_bytes_crops(CODECS, record, name, photograph(0), 0.05)


@pytest.fixture(scope="module")
def text(record: RateDistortion, row: CropRow) -> str:
    return page(record, [row], subjects=["dear"])


@pytest.fixture(scope="module")
def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_it_asks_for_nothing(text: str, tree: ElementTree.Element) -> None:
    outside_data = re.sub("data:image/png;base64,[A-Za-z0-9+/=]+", "data:", text)
    assert not re.search(r"//|@import|url\((?!'data:)", outside_data)
    for element in tree.iter():
        assert element.tag not in {"script", "link", "iframe", "object"}
        for attribute in ("src", "href"):
            assert element.get(attribute, "data:").startswith("data:")


def test_every_codec_has_a_line_in_both_widths_of_every_plot(tree: ElementTree.Element) -> None:
    plots = tree.findall(".//svg")
    assert [p.get("class") for p in plots] == ["wide", "narrow"] * 2
    for svg in plots:
        labels = [t.text for t in svg.findall("text") if t.get("class", "").startswith("label")]
        lossless = ["Lossless"] * ("SSIM" in svg.get("aria-label", ""))  # its PSNR is infinite
        assert labels == ["Coarse <1> & Co", "Dear", *lossless]
        assert [len(g.findall("circle")) for g in svg.findall("g")][:2] == [4, 3]


def test_what_the_page_is_about_stands_out(tree: ElementTree.Element) -> None:
    marked = {row.find("th").text for row in tree.iter("tr") if row.get("class") == "c1 subject"}
    assert marked == {"Dear"}


def test_pieces_are_the_pixels_themselves(tree: ElementTree.Element, row: CropRow) -> None:
    shown = [image.get("src") for image in tree.iter("img")]
    wanted = [row.original, *(crop.pixels for crop in row.crops.values())]
    assert len(shown) == len(wanted) == 4
    for uri, pixels in zip(shown, wanted, strict=True):
        data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
        found = torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1)
        assert torch.equal(found, to_bytes(pixels[0]))


def test_the_original_lies_below_each_piece(tree: ElementTree.Element) -> None:
    (crops,) = [div for div in tree.iter("div") if div.get("class") == "crops"]
    original = crops.find("figure/img").get("src")
    assert crops.get("style") == f"--original:url('{original}')"
    assert len(crops.findall("figure/label/input")) == 3


def test_captions_say_bytes_and_quality(tree: ElementTree.Element) -> None:
    captions = ["".join(caption.itertext()) for caption in tree.iter("figcaption")]
    assert captions[1].startswith("Coarse <1> & Co17 bytes ")
    assert re.search(r"Dear30 bytes [\d.]+ dB SSIM 0\.\d{4}$", captions[2])


def test_a_file_over_the_limit_is_said_to_be(record: RateDistortion) -> None:
    row = equal_bytes_crops(CODECS, record, "b", photograph(1, 40, 50), 0.021)
    tree = ElementTree.fromstring(page(record, [row]).removeprefix("<!DOCTYPE html>\n"))
    captions = ["".join(caption.itertext()) for caption in tree.iter("figcaption")]
    over = [caption.endswith("over the limit: its smallest file") for caption in captions]
    assert over == [False, False, True, False]


def test_it_can_be_made_without_pieces_and_of_one_picture() -> None:
    record = rate_distortion({"coarse": CoarseCodec()}, [("p", photograph())])
    tree = ElementTree.fromstring(page(record).removeprefix("<!DOCTYPE html>\n"))
    lead = next(p for p in tree.iter("p") if p.get("class") == "lead")
    assert (
        lead.text
        == "Coarse on 1 picture, 83\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}61. Rates are "
        + ("whole files, headers and all.")
    )
    assert not list(tree.iter("figure"))


@given(
    st.lists(
        st.lists(st.tuples(st.floats(1e-3, 30), st.floats(-1e3, 1e3)), min_size=1, max_size=6),
        min_size=1,
        max_size=9,
    )
)
def test_a_plot_stays_inside_its_frame(curves: list[list[tuple[float, float]]]) -> None:
    lines = [
        Line(name=f"codec {index}", style="c0", points=[(*point, "") for point in sorted(points)])
        for index, points in enumerate(curves)
    ]
    svg = ElementTree.fromstring(plot(lines, title="PSNR, dB", width=400, height=380))
    for circle in svg.iter("circle"):
        assert 52 <= float(circle.get("cx")) <= 400 - 18
        assert 14 - 0.1 <= float(circle.get("cy")) <= 380 - 46 + 0.1
    labels = [t for t in svg.iter("text") if t.get("class", "").startswith("label")]
    assert all(float(label.get("y")) <= 380 - 46 + 0.1 for label in labels)
    assert 2 <= len([t for t in svg.iter("text") if "end" in t.get("class")]) <= 12


def test_names_at_one_place_are_spread() -> None:
    lines = [Line(name=name, style="c0", points=[(0.1, 20, ""), (1, 30, "")]) for name in "abcd"]
    svg = ElementTree.fromstring(plot(lines, title="PSNR, dB", width=400, height=380))
    heights = sorted(float(t.get("y")) for t in svg.iter("text") if t.get("class") == "label c0")
    assert all(b - a >= 16.9 for a, b in pairwise(heights))


def test_a_plot_stands_alone(record: RateDistortion) -> None:
    drawn = plot_file(record, "psnr", subjects=["dear"])
    assert drawn is not None
    tree = ElementTree.fromstring(drawn)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    names = ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Coarse <1> & Co", "Dear", "bits per pixel"} <= set(names)
    assert "Lossless" not in names  # no finite point
    assert tree.find("{http://www.w3.org/2000/svg}style") is not None


def test_a_metric_without_a_finite_point_has_no_plot() -> None:
    found = rate_distortion({"lossless": LosslessCodec(name="Lossless")}, [("a", photograph(0))])
    assert plot_file(found, "psnr") is None
