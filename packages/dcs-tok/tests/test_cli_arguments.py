"""Sizes, bytes and ranges of frames on the command line: what is read, and what is refused."""

import re
from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.command_line import parse_size
from dcs_tok.command_arguments import parse_bytes, parse_frames

from .commands import Command

SIDE = st.integers(1, 999_999)
# Texts near the valid ones, and any others.
TEXT = st.text("0123456789xX:.-+ kKmMgGiIbBeE²٣n", max_size=9) | st.text(
    st.characters(codec="latin-1"), max_size=9
)


def argument_error(message: str) -> object:
    """Expect the error that argparse shows to the user, word for word."""
    return pytest.raises(ArgumentTypeError, match=f"^{re.escape(message)}$")


@given(width=SIDE, height=SIDE, sign=st.sampled_from("xX"))
def test_sizes_are_width_first_and_become_height_first(width: int, height: int, sign: str) -> None:
    assert parse_size(f"{width}{sign}{height}") == (height, width)


WRONG_SIZES = ["", "64", "64x", "x64", "0x64", "64x0", "-64x64", "64x64x64", "64.5x64", "64*64"]


@pytest.mark.parametrize(
    "text", [*WRONG_SIZES, "²x3", "64 x 64", "1e3x1e3", "1000000x1", "64x64\n"]
)
def test_what_is_no_size(text: str) -> None:
    with argument_error(f"must be WIDTHxHEIGHT such as 1280x720, but is {text!r}"):
        parse_size(text)


@given(TEXT)
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        height, width = parse_size(text)
    except ArgumentTypeError as problem:
        assert str(problem) == f"must be WIDTHxHEIGHT such as 1280x720, but is {text!r}"
    else:
        assert [int(side) for side in text.lower().split("x")] == [width, height]
        assert min(width, height) > 0


@given(
    count=st.integers(1, 10**6),
    unit=st.sampled_from([("", 1), ("K", 2**10), ("M", 2**20), ("G", 2**30)]),
    tail=st.sampled_from(["", "B", "iB"]),
    lower=st.booleans(),
)
def test_bytes_are_read_with_binary_units(
    count: int, unit: tuple[str, int], tail: str, lower: bool
) -> None:
    text = f"{count}{unit[0]}{tail if unit[0] else tail.removeprefix('i')}"
    assert parse_bytes(text.lower() if lower else text) == count * unit[1]


def test_bytes_may_have_a_fraction_of_a_unit() -> None:
    assert parse_bytes("1.5G") == 3 * 2**29
    assert parse_bytes("0.25KiB") == 256
    assert parse_bytes("1e6") == 1_000_000


WRONG_BYTES = ["", "M", "GiB", "-1", "-5M", "0", "0.5", "nan", "inf", "-inf", "1e999", "1e999G"]


@pytest.mark.parametrize("text", [*WRONG_BYTES, "five", "12T", "1,5G", "0x10", "MM"])
def test_what_is_no_number_of_bytes(text: str) -> None:
    with argument_error(f"must be bytes such as 800M or 2GiB, but is {text!r}"):
        parse_bytes(text)


@given(TEXT)
def test_any_text_is_a_number_of_bytes_or_refused(text: str) -> None:
    try:
        value = parse_bytes(text)
    except ArgumentTypeError as problem:
        assert str(problem) == f"must be bytes such as 800M or 2GiB, but is {text!r}"
    else:
        assert isinstance(value, int)
        assert value >= 1


@given(first=st.none() | st.integers(0, 10**8), stop=st.none() | st.integers(0, 10**8))
def test_either_end_of_a_range_of_frames_may_be_left_out(
    first: int | None, stop: int | None
) -> None:
    text = ":".join("" if end is None else str(end) for end in (first, stop))
    assert parse_frames(text) == (first or 0, stop)


WRONG_FRAMES = ["", "5", "0-48", "-1:5", "0:-5", "1:2:3", "a:b", "0.5:2", " 0:5", "²:³", "0:5\n"]


@pytest.mark.parametrize("text", [*WRONG_FRAMES, "1" * 5000 + ":"])
def test_what_is_no_range_of_frames(text: str) -> None:
    with argument_error(f"must be FIRST:STOP such as 0:48, but is {text!r}"):
        parse_frames(text)


@given(TEXT)
def test_any_text_is_a_range_of_frames_or_refused(text: str) -> None:
    try:
        first, stop = parse_frames(text)
    except ArgumentTypeError as problem:
        assert str(problem) == f"must be FIRST:STOP such as 0:48, but is {text!r}"
    else:
        ends = text.split(":")
        assert [first, stop] == [int(ends[0] or 0), int(ends[1]) if ends[1] else None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("decode", "in", "out.png", "--size", "64"),
            "argument --size: must be WIDTHxHEIGHT such as 1280x720, but is '64'",
        ),
        (
            ("encode", "in.png", "out", "--max-memory", "1e999"),
            "argument --max-memory: must be bytes such as 800M or 2GiB, but is '1e999'",
        ),
        (
            ("encode", "in.mp4", "out", "--frames", "5"),
            "argument --frames: must be FIRST:STOP such as 0:48, but is '5'",
        ),
        (
            ("encode", "in.png", "out", "--levels", "all"),
            "argument --levels: invalid int value: 'all'",
        ),
        (("decode", "in"), "the following arguments are required: output"),
        (
            ("fit-linear", "out", "--photos", "a", "--clips", "a.mp4@5"),
            "argument --clips: A clip must be FILE or FILE@START:STOP, but is 'a.mp4@5'. "
            "Give the first frame and the one after the last, such as clip.mp4@0:600.",
        ),
    ],
)
def test_wrong_arguments_name_the_option_and_what_it_must_be(
    arguments: tuple[str, ...], message: str, command: Command
) -> None:
    assert command.misuse(*arguments) == message


@pytest.mark.parametrize("name", ["encode", "decode", "info", "demo", "fit-linear"])
def test_every_command_is_listed_and_explains_itself(name: str, command: Command) -> None:
    overview = command("--help")
    assert (overview.code, overview.err) == (0, "")
    assert re.search(rf"\n +{name}\s+[A-Z]", overview.out)
    own = command(name, "--help")
    assert (own.code, own.err) == (0, "")
    assert own.out.startswith(f"usage: dcs-tok {name}")


def test_no_command_is_misuse(command: Command) -> None:
    finished = command()
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.endswith("dcs-tok: error: the following arguments are required: COMMAND\n")


def test_the_version_is_that_of_the_package(command: Command) -> None:
    from dcs_tok import __version__

    finished = command("--version")
    assert (finished.code, finished.out, finished.err) == (0, f"{__version__}\n", "")
