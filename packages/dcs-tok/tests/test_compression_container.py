"""Every byte of a .dcs file is as documented, and comes back."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcs_tok.compression.container import FileHeader, read_file, write_file

from .dcs_files import CLIP, PICTURE, headers


def assert_same_header(found: FileHeader, expected: FileHeader) -> None:
    assert np.array_equal(found.levels, expected.levels)
    assert replace(found, levels=None) == replace(expected, levels=None)


@given(header=headers(), data=st.data())
def test_headers_and_chunks_come_back(header: FileHeader, data: st.DataObject) -> None:
    count = header.num_levels * header.groups
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=count, max_size=count))
    chunks = [bytes([i % 256]) * size for i, size in enumerate(sizes)]
    found = read_file(write_file(header, chunks))
    assert_same_header(found.header, header)
    assert (found.chunks, found.is_cut) == (tuple(chunks), False)


def test_a_picture_s_bytes() -> None:
    expected = bytes.fromhex(
        "89 44 43 53 0d 0a 1a 0a"  # signature
        "01"  # format
        "11"  # bytes of the header's body: 17
        "01 23 45 67 89 ab cd ef"  # fingerprint of the entropy model
        "00"  # flags: neither clip nor map nor phase
        "28"  # quality 40
        "02"  # levels
        "05 ac02"  # height 5, width 300 = 0x2c + 2 * 128
        "02 03"  # rows, columns
        "01"  # chunks that are there: level 1 has one, level 2 is all zeros
        "92 10 f7"  # checksum of all so far
        "04"  # bytes of the chunk of level 1
        "cd fb 3c"  # its checksum
        "01 02 03 04"
    )
    chunks = [b"\1\2\3\4", b""]
    assert write_file(PICTURE, chunks) == expected
    found = read_file(expected)
    assert_same_header(found.header, PICTURE)
    assert found.chunks == tuple(chunks)


def test_the_header_of_a_clip_with_a_map() -> None:
    expected = bytes.fromhex(
        "89 44 43 53 0d 0a 1a 0a 01"
        "21"  # 33 bytes
        "01 23 45 67 89 ab cd ef"
        "07"  # clip, map and phase
        "28 03"  # quality, highest count
        "05 07 02 03"  # height, width, rows, columns
        "b0ea01 e907"  # 30000 / 1001 frames a second
        "09 02"  # frames, segments
        "01 03"  # phase 1 / 3
        "00"  # chunks
        "82 52 93 25 75 10 0a 44"  # the map, range-coded
        "ae 96 71"
    )
    assert write_file(CLIP, []) == expected
    assert_same_header(read_file(expected).header, CLIP)


def test_flags_are_there_for_what_needs_them() -> None:
    """Nothing else is written: maps of one count, a phase of 0 and pictures take no bytes."""
    flags_at = 8 + 1 + 1 + 8
    for header, flags in (
        (PICTURE, 0),
        (replace(PICTURE, levels=CLIP.levels[:1]), 2),
        (replace(CLIP, levels=np.full((2, 2, 3), 4)), 1 + 4),
        (replace(CLIP, phase=Fraction(0)), 1 + 2),
        (replace(CLIP, phase=Fraction(0), levels=np.full((2, 2, 3), 4)), 1),
    ):
        assert write_file(header, [])[flags_at] == flags


@pytest.mark.parametrize(
    ("segments", "groups"), [(1, 1), (6, 1), (7, 2), (12, 2), (13, 3), (360, 60)]
)
def test_six_segments_make_a_group(segments: int, groups: int) -> None:
    header = replace(CLIP, levels=np.ones((segments, 1, 1), dtype=np.int64))
    assert header.groups == groups
    assert header.num_levels == 1


def test_reading_goes_no_further_than_the_levels_asked_for() -> None:
    """Damage or a cut in higher levels is none of its business."""
    chunks = [b"\1\2\3\4", b"\5\6\7\x08"]
    data = write_file(PICTURE, chunks)
    for changed in (data, data[:-1], data[:-1] + b"x", data + b"more"):
        found = read_file(changed, 1)
        assert (found.chunks, found.is_cut) == ((chunks[0],), False)
    assert read_file(data, 9).chunks == tuple(chunks)
    assert read_file(data + b"more").chunks == tuple(chunks)


@pytest.mark.parametrize("text", ["29.97002997002997", "1234567891011/100000"])
def test_any_rate_that_is_written_is_read(text: str) -> None:
    """Also one whose fraction has many digits."""
    header = replace(CLIP, fps=Fraction(text))
    try:
        data = write_file(header, [])
    except ValueError:
        return  # said when it is written
    assert read_file(data).header.fps == header.fps


@pytest.mark.parametrize(
    "change",
    [
        {"levels": np.ones((2000, 30, 30), dtype=np.int64), "frames": 2000, "size": (90, 90)},
        {"levels": np.full((1, 2, 3), 65)},
        {"size": (2**20 + 1, 8)},
        {"size": (2**16, 2**15)},
        {"frames": 2**24 + 1},
    ],
)
def test_what_no_reader_takes_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        write_file(replace(CLIP, **change), [])
