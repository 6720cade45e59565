"""Protocols: what each refuses in whole messages, its table, and the rules of crops and clips."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcs_eval.eight_bit import to_pixels
from dcs_eval.protocols.centre_crop import adm_centre_crop
from dcs_eval.protocols.checks import (
    check_count,
    check_names,
    check_reference,
    check_reference_count,
    check_seeds,
    check_sizes,
)
from dcs_eval.protocols.clip_rule import ClipRule
from dcs_eval.protocols.presets import PROTOCOLS, find_protocol, protocol_names
from dcs_eval.protocols.protocol import Protocol

from .errors import error

RFID, GFID = PROTOCOLS["imagenet256-rfid"], PROTOCOLS["imagenet256-gfid"]
RFVD, GFVD = PROTOCOLS["ucf101-rfvd"], PROTOCOLS["ucf101-gfvd"]
RFD, GFD = PROTOCOLS["squeezenet128-rfd"], PROTOCOLS["squeezenet128-gfd"]
KODAK = PROTOCOLS["kodak"]
OWN = [RFID, RFVD, RFD, KODAK]
HELD_OUT = [GFVD, GFD]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("data", "train"):
        (tmp_path / name).mkdir()
    (tmp_path / "statistics.npz").touch()
    return tmp_path


def test_every_preset_has_a_task_and_a_source() -> None:
    assert {*protocol_names("reconstruction"), *protocol_names("generation")} == set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert find_protocol(name, protocol.task) is protocol
        assert protocol.citation
        assert (protocol.clip is None) == (protocol.media == "picture")
        # Only the Inception network gives what may be called FID.
        named = any("FID" in metric for metric in protocol.metrics)
        assert named == (protocol.space == "inception-2015-12-05")


def test_the_numbers_that_make_published_figures() -> None:
    assert (RFID.count, RFID.sizes, RFID.resize) == (50_000, ((256, 256),), "adm-centre-crop")
    assert (GFID.count, GFID.reference_count, GFID.sizes) == (50_000, 10_000, ((256, 256),))
    assert (GFVD.count, GFVD.reference_count) == (2048, 2048)
    assert GFVD.clip == RFVD.clip == ClipRule(frames=16, fps=Fraction(24))
    assert (GFD.count, GFD.seeds) == (1000, 3)
    assert KODAK.count == 24


def test_an_unknown_protocol() -> None:
    with error(
        "The protocol of a generation must be one of imagenet256-gfid, ucf101-gfvd, "
        "squeezenet128-gfd, but is 'fid'. Choose one of these."
    ):
        find_protocol("fid", "generation")
    with error(
        "The protocol of a generation must be one of imagenet256-gfid, ucf101-gfvd, "
        "squeezenet128-gfd, but is 'kodak', which is of reconstruction. Choose one of these."
    ):
        find_protocol("kodak", "generation")


@pytest.mark.parametrize("protocol", OWN, ids=lambda protocol: protocol.name)
def test_reconstructions_are_compared_with_their_originals_alone(
    protocol: Protocol, place: Path
) -> None:
    data = [place / "data"]
    check_reference(protocol, [], data=data)
    check_reference(protocol, [place / "train" / ".." / "data"], data=data)
    start = (
        f"The reference of {protocol.name} must be the {protocol.media}s that are reconstructed "
        "themselves, but "
    )
    with error(f"{start}{place / 'train'} is other pictures. Leave `--reference` out."):
        check_reference(protocol, [place / "train"], data=data)
    inflated = (
        ", and against those of a training set the distance comes out several times too large"
        if protocol.space
        else ""
    )
    with error(
        f"{start}{place / 'statistics.npz'} is a file of statistics{inflated}. "
        "Leave `--reference` out."
    ):
        check_reference(protocol, [place / "statistics.npz"], data=data)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["data"], "{}/data is a folder"),
        (["picture.png"], "{}/picture.png is another file"),
        (["none.npz"], "{}/none.npz does not exist"),
        (["statistics.npz", "data"], "there are 2 paths"),
        ([], "there is none"),
    ],
)
def test_gfid_takes_the_npz_of_adm_alone(names: list[str], found: str, place: Path) -> None:
    (place / "picture.png").touch()
    check_reference(GFID, [place / "statistics.npz"])
    with error(
        "The reference of imagenet256-gfid must be the one file VIRTUAL_imagenet256_labeled.npz of "
        "ADM's evaluation, with statistics of the whole training set, but "
        f"{found.format(place)}. Download it and give its path."
    ):
        check_reference(GFID, [place / name for name in names])


@pytest.mark.parametrize("protocol", HELD_OUT, ids=lambda protocol: protocol.name)
def test_generators_are_compared_with_what_they_have_not_seen(
    protocol: Protocol, place: Path
) -> None:
    what = f"{protocol.media}s"
    check_reference(protocol, [place / "data"], train=[place / "train"])
    with error(
        f"The reference of {protocol.name} must be {what} that the generator was not trained on, "
        f"but {place / 'train'} is given as training {what}, too. Give held-out ones."
    ):
        check_reference(protocol, [place / "data", place / "train"], train=[place / "train"])
    with error(
        f"The reference of {protocol.name} must be real {what} in folders or zips, but "
        f"{place / 'statistics.npz'} is a file of statistics. Give the {what} themselves."
    ):
        check_reference(protocol, [place / "statistics.npz"])
    with error(
        f"{protocol.name} compares with real {what} that the generator was not trained on, but "
        "there is no reference. Give folders or zips of them."
    ):
        check_reference(protocol, [])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_count(RFID, 49_999),
            "imagenet256-rfid takes 50000 pictures, as distances depend on the number, but there "
            "are 49999. Give as many, or leave `--protocol` out.",
        ),
        (
            lambda: check_count(GFID, 1000, what="samples at each level"),
            "imagenet256-gfid takes 50000 samples at each level, as distances depend on the "
            "number, but there are 1000. Give as many, or leave `--protocol` out.",
        ),
        (
            lambda: check_count(KODAK, 1),
            "kodak takes 24 pictures, but there are 1. Give as many, or leave `--protocol` out.",
        ),
        (
            lambda: check_reference_count(GFID, 0, "a.npz"),
            "The reference of imagenet256-gfid must hold 10000 pictures (arr_0) for precision and "
            "recall, but a.npz holds none. Give VIRTUAL_imagenet256_labeled.npz as it was "
            "published.",
        ),
        (
            lambda: check_reference_count(GFID, 50_000, "a.npz"),
            "The reference of imagenet256-gfid must hold 10000 pictures (arr_0) for precision and "
            "recall, but a.npz holds 50000. Give VIRTUAL_imagenet256_labeled.npz as it was "
            "published.",
        ),
        (
            lambda: check_reference_count(GFVD, 100, "val"),
            "ucf101-gfvd compares with 2048 real clips, but val holds 100. Give as many, or leave "
            "`--protocol` out.",
        ),
        (
            lambda: check_seeds(GFD, 1),
            "squeezenet128-gfd takes samples of 3 seeds, but there is 1 folder. "
            "Give one for each seed.",
        ),
        (
            lambda: check_seeds(GFID, 3),
            "imagenet256-gfid takes samples of 1 seed, but there are 3 folders. "
            "Give one for each seed.",
        ),
        (
            lambda: check_sizes(KODAK, [("a", (512, 768)), ("b", (256, 384))]),
            "Pictures of kodak must have 768x512 or 512x768 pixels, but b has 384x256. "
            "Give those of that size; it never resizes.",
        ),
        (
            lambda: check_names(RFID, ["a/ILSVRC2012_val_00000001.JPEG", "n01440764_10026.JPEG"]),
            "imagenet256-rfid takes ImageNet's validation pictures, but n01440764_10026.JPEG has "
            "the name of a training picture. Give ILSVRC2012_val_00000001 to 00050000.",
        ),
        (
            lambda: check_count(RFVD, 3783),
            "ucf101-rfvd takes 2048 clips, as distances depend on the number, but there are 3783. "
            "Give as many, or leave `--protocol` out.",
        ),
        (
            lambda: check_sizes(GFVD, [("a.webp", (128, 128))]),
            "Clips of ucf101-gfvd must have 256x256 pixels, but a.webp has 128x128. "
            "Give those of that size; it never resizes samples.",
        ),
    ],
)
def test_wrong_numbers_sizes_and_names(check: Callable[[], None], message: str) -> None:
    with error(message):
        check()


def test_right_numbers_pass() -> None:
    for protocol in PROTOCOLS.values():
        check_count(protocol, protocol.count)
        check_seeds(protocol, protocol.seeds)
        check_sizes(protocol, [("a", size) for size in protocol.sizes])
        check_names(protocol, ["a/ILSVRC2012_val_00000001.JPEG"])
        check_reference_count(protocol, protocol.reference_count or 7, "a")
    check_names(KODAK, ["n01440764_10026.JPEG"])


def test_rows_say_what_was_not_run() -> None:
    assert RFID.row("x", {"PSNR, dB": "26.91"}) == ("x", "26.91", "not run", "not run", "not run")
    assert GFID.columns[5:] == tuple(f"{metric} with guidance" for metric in GFID.metrics)
    values = {"gFID": "2.50", "IS": "281.8"}
    nothing, figures = ("not run",) * 5, ("2.50", "not run", "281.8", "not run", "not run")
    assert GFID.row("x", values) == ("x", *figures, *nothing)
    assert GFID.row("x", values, guided=True) == ("x", *nothing, *figures)
    assert GFVD.table([GFVD.row("paper", {"gFVD": "452.99"})]).splitlines() == [
        "| model | gFVD | gFVD with guidance |",
        "| --- | ---: | ---: |",
        "| paper | 452.99 | not run |",
    ]
    with error(
        "The metrics of ucf101-gfvd must be of gFVD, but there is FID. Leave it out, or use "
        "another protocol."
    ):
        GFVD.row("x", {"FID": "1"})


def test_adm_crop_by_hand() -> None:
    """11 x 8 pixels to 4: halved to 5 x 4 (the box of each new pixel), and 4 of 5 columns kept."""
    grey = np.arange(8 * 11, dtype=np.uint8).reshape(8, 11)
    halved = Image.fromarray(grey).resize((5, 4), Image.Resampling.BOX)
    expected = np.asarray(halved)[:, :4]  # (5 - 4) // 2 = 0 columns on the left
    pixels = to_pixels(Image.fromarray(grey).convert("RGB"))
    found = adm_centre_crop(pixels, 4)
    assert found.shape == (1, 3, 4, 4)
    assert np.array_equal(found.mul(255).round().numpy()[0, 0].astype(np.uint8), expected)


def test_adm_crop_halves_before_it_is_bicubic() -> None:
    """Columns 0, 1, 2, 3 become pairs of equal means: a box filter, and no other."""
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 1
    assert adm_centre_crop(stripes, 4).mul(255).round().unique().tolist() == [128.0]
    # Below twice the side nothing is halved.
    assert len(adm_centre_crop(stripes[..., :15, :15], 8).unique()) > 1


@given(height=st.integers(3, 60), width=st.integers(3, 60), side=st.integers(2, 20))
def test_adm_crops_are_squares_of_what_was_there(height: int, width: int, side: int) -> None:
    pixels = torch.full((1, 3, height, width), 100 / 255)
    assert torch.equal(adm_centre_crop(pixels, side), torch.full((1, 3, side, side), 100 / 255))


def test_a_crop_of_its_own_size_is_the_picture_itself() -> None:
    pixels = torch.randint(256, (1, 3, 9, 9), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(adm_centre_crop(pixels, 9), pixels)


def test_clips_of_25_to_24_frames_per_second() -> None:
    rule = ClipRule(frames=16, fps=Fraction(24))
    # 25 frames of one second give 24, of which 4 are left out on each side.
    assert rule.indices(25, Fraction(25)) == tuple(
        int(Fraction(25 * i, 24) + Fraction(1, 2)) for i in range(4, 20)
    )
    # i * 25 / 24 passes half a frame at i = 12: one source frame is left out.
    assert rule.indices(25, Fraction(25))[7:10] == (11, 13, 14)
    assert rule.indices(40, Fraction(24)) == tuple(range(12, 28))
    with error(
        "A clip takes 16 frames at 24 fps, but a video of 16 frames at 25 fps gives 15. "
        "Leave it out."
    ):
        rule.indices(16, Fraction(25))


@given(
    count=st.integers(1, 300),
    fps=st.fractions(5, 120, max_denominator=1001),
    target=st.fractions(5, 120, max_denominator=1001),
    frames=st.integers(1, 32),
)
def test_clips_are_nearest_in_time_and_central(
    count: int, fps: Fraction, target: Fraction, frames: int
) -> None:
    rule = ClipRule(frames=frames, fps=target)
    whole = (
        [
            min(range(count), key=lambda j: (abs(j / fps - i / target), -j))
            for i in range(200 * 60)
            if i / target * fps + Fraction(1, 2) < count
        ]
        if count <= 40
        else None
    )
    try:
        found = rule.indices(count, fps)
    except ValueError:
        assert whole is None or len(whole) < frames
        return
    assert len(found) == frames
    assert list(found) == sorted(found)
    assert found[0] >= 0 and found[-1] < count
    if whole is not None:
        first = (len(whole) - frames) // 2
        assert list(found) == whole[first : first + frames]


def test_the_record_of_a_protocol_tells_clips_by_text() -> None:
    content: dict[str, Any] = GFVD.content()
    assert content["clip"] == {"frames": 16, "fps": "24", "choice": "centre"}
    assert KODAK.content()["clip"] is None
    assert replace(KODAK, seed=3).content()["seed"] == 3
