"""What is no whole .dcs file for this model is refused, in one sentence each."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from dcs_tok.compression.codec import decompress
from dcs_tok.compression.compress import compress
from dcs_tok.compression.container import MAGIC, read_file, write_file
from dcs_tok.compression.symbol_coder import DamagedDataError

from .dcs_files import CLIP, NAME, PICTURE, body, file_of
from .errors import error
from .small_codec import small_codec, small_tok, tok_with_networks, waves

CHUNKS = [b"\1\2\3\4", b"\5\6\7\x08"]
DATA = write_file(PICTURE, CHUNKS)
HEADER = len(write_file(PICTURE, []))


def inconsistent(what: str) -> str:
    return (
        f"The header of a .dcs file must be consistent, but is not ({what}). Write the file again."
    )


def test_refusals_are_value_errors_of_their_own() -> None:
    with pytest.raises(DamagedDataError):
        read_file(b"")
    assert issubclass(DamagedDataError, ValueError)


@pytest.mark.parametrize("data", [b"", MAGIC[:7], b"x" + DATA[1:], DATA.replace(b"\r\n", b"\n")])
def test_another_signature(data: bytes) -> None:
    with error(
        "A .dcs file must begin with its signature, but this one does not. It is another kind of "
        "file, or was changed in transfer."
    ):
        read_file(data)


def test_another_format() -> None:
    with error("The format of a .dcs file must be 1, but is 2. Update dcs-tok."):
        read_file(MAGIC + b"\2" + DATA[9:])


@pytest.mark.parametrize("length", range(len(MAGIC), HEADER))
def test_a_cut_header(length: int) -> None:
    with error(
        "A .dcs file must hold at least its header, but this one ends before. Copy it again."
    ):
        read_file(DATA[:length])


@pytest.mark.parametrize("place", range(10, HEADER))
def test_a_damaged_header(place: int) -> None:
    data = DATA[:place] + bytes([DATA[place] ^ 4]) + DATA[place + 1 :]
    with error(
        "The header of a .dcs file must have the checksum that was written, but has another: the "
        "file is damaged. Copy it again."
    ):
        read_file(data)


@pytest.mark.parametrize(
    ("end", "level", "remedy"),
    [(HEADER + 8, 1, "Copy it again."), (len(DATA), 2, "Decode 1 levels, or copy it again.")],
)
@pytest.mark.parametrize("back", range(1, 8))
def test_a_damaged_chunk(end: int, level: int, remedy: str, back: int) -> None:
    data = bytearray(DATA)
    data[end - back] ^= 4
    with error(
        f"Level {level} of a .dcs file must have the checksum that was written, but has another: "
        f"the file is damaged. {remedy}"
    ):
        read_file(bytes(data))


def test_a_chunk_of_several_groups_names_its_level() -> None:
    header = replace(CLIP, levels=np.full((13, 2, 3), 2), frames=13)
    data = write_file(header, [bytes([i] * 4) for i in range(6)])
    for chunk in range(6):
        end = len(data) - 8 * (5 - chunk)
        with pytest.raises(ValueError, match=f"^Level {chunk // 3 + 1} of a .dcs file must have"):
            read_file(data[: end - 1] + b"x" + data[end:])


SIZES = (5, 7, 2, 3)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (body()[:9], "it is too short"),
        (body(5, 7), "it is too short"),
        (body(*SIZES, flags=8), "flags 8, quality 40, levels 2"),
        (body(*SIZES, quality=101), "flags 0, quality 101, levels 2"),
        (body(*SIZES, levels=0), "flags 0, quality 40, levels 0"),
        (body(*SIZES, levels=65), "flags 0, quality 40, levels 65"),
        (body(0, 7, 1, 1), "7 x 0 pixels"),
        (body(2**20 + 1, 7, 1, 1), "7 x 1048577 pixels"),
        (body(2**16, 2**15, 1, 1), "32768 x 65536 pixels"),
        (body(5, 7, 6, 3), "6 x 3 patches for 7 x 5 pixels"),
        (body(5, 7, 0, 3), "0 x 3 patches for 7 x 5 pixels"),
        (body(5, 7, 2, 8), "2 x 8 patches for 7 x 5 pixels"),
        (body(2**15, 2**15, 2**11, 2**10), "1 x 2048 x 1024 patches"),
        (body(2**15, 2**15, 2**10, 2**10, flags=2), "1 x 1024 x 1024 patches"),
        (body(*SIZES, 4, 1, 0, 1, flags=1), "1 segments of 0 frames"),
        (body(*SIZES, 4, 1, 5, 6, flags=1), "6 segments of 5 frames"),
        (body(*SIZES, 4, 1, 2**30, 1, flags=1), "1 segments of 1073741824 frames"),
        (body(*SIZES, 4, 0, 5, 3, flags=1), "Fraction(4, 0)"),
        (body(*SIZES, 4, 4, flags=4), "phase 1"),
        (body(*SIZES, 1, 0, flags=4), "Fraction(1, 0)"),
        (body(*SIZES), "it is too short"),
        (body(*SIZES, more=b"\4"), "it has more chunks than levels"),
        (body(*SIZES, more=b"\0\0"), "it is too long"),
        (body(*SIZES, flags=2, more=b"\0\0"), "a level map of a length that is no multiple of 4"),
    ],
)
def test_an_absurd_header(header: bytes, what: str) -> None:
    with error(inconsistent(what)):
        read_file(file_of(header))


def test_a_map_must_reach_its_highest_count() -> None:
    data = file_of(body(*SIZES, flags=2, levels=2, more=bytes(5)))
    with error(inconsistent("a level map up to 1 of 2")):
        read_file(data)


def test_frames_must_fall_into_their_segments() -> None:
    header = replace(CLIP, entropy_model=small_codec().model.fingerprint, fps=Fraction(4))
    with error(
        inconsistent(
            "The frames must fit the 2 segments, but 9 frames at 4 fps make 5. Correct the number "
            "of frames or the rate."
        )
    ):
        small_codec().read(write_file(header, []))


def test_a_file_without_its_first_level() -> None:
    data = compress(waves(9, 11), small_tok(), quality=40)
    content = read_file(data)
    start, end = (len(write_file(content.header, list(content.chunks[:i]))) for i in (0, 1))
    for length in range(start, end):
        with error(
            "A .dcs file must hold at least its whole first level, but this one ends before. Copy "
            "it again."
        ):
            decompress(data[:length], model=small_tok())


def test_a_file_of_another_model() -> None:
    ours = small_codec().model.fingerprint
    with error(
        f"A .dcs file must be decoded with the model that wrote it ({NAME}), but this one is "
        f"{ours}. Load that model, with `--model` on the command line."
    ):
        small_codec().read(DATA)
    data = compress(waves(9, 11), tok_with_networks(), quality=40)
    with pytest.raises(ValueError, match=r"^A \.dcs file must be decoded with the model that"):
        decompress(data, model=small_tok())


def test_more_levels_than_the_model_has() -> None:
    header = replace(
        PICTURE, entropy_model=small_codec().model.fingerprint, levels=np.full((1, 2, 3), 4)
    )
    with error(
        "A .dcs file must have at most 3 levels for this model, but has 4. Write the file again."
    ):
        small_codec().read(write_file(header, []))


def test_a_clip_of_absurdly_many_frames_takes_no_time() -> None:
    """In one segment, whose times alone would take seconds: 16 s and 600 MB for a million."""
    header = body(8, 8, 1, 1, 2**18, 1, 2**17, 1, flags=1, levels=1)
    name = bytes.fromhex(small_codec().model.fingerprint)
    with pytest.raises(ValueError):
        small_codec().read(file_of(name + header[8:], [b""]))
