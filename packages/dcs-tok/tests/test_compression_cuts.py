"""A file that was cut anywhere decodes at exactly what is whole of it."""

from dataclasses import replace

import pytest
import torch

from dcs_common.latents import Latents
from dcs_tok.compression.codec import Codec, Coded, codec_of, cut_note, decompress
from dcs_tok.compression.container import FileContent, read_file, write_file
from dcs_tok.compression.level_coding import SEGMENTS_PER_GROUP

from .small_codec import small_tok, tok_with_networks, waves


def coded_picture() -> tuple[Codec, Coded]:
    codec = codec_of(tok_with_networks())
    levels = torch.tensor([[[5, 2, 3], [4, 5, 1]]])
    return codec, codec.code(codec.tok.encode(waves(17, 23), levels=levels, patches=2), 60)


def coded_clip() -> tuple[Codec, Coded]:
    """Seven and a half segments: two groups."""
    codec = codec_of(small_tok())
    clip = torch.stack([waves(9, 13, seed=i // 4) for i in range(23)], dim=2)
    return codec, codec.code(codec.tok.encode(clip, 6, patches=2), 48)


def ends_of_chunks(data: bytes) -> list[int]:
    """Return where the header and then each chunk ends."""
    content = read_file(data)
    return [
        len(write_file(content.header, list(content.chunks[:count])))
        for count in range(len(content.chunks) + 1)
    ]


def prefix(whole: Latents, chunks: int, groups: int) -> Latents:
    """Return the latents that so many chunks hold."""
    levels, more = divmod(chunks, groups)
    held = torch.full_like(whole.levels, levels)
    held[:, : SEGMENTS_PER_GROUP * more] += 1
    held = held.minimum(whole.levels)
    active = torch.arange(whole.num_levels) < held.unsqueeze(-1)
    tokens = (whole.tokens * active.unsqueeze(-1))[..., : levels + (more > 0), :]
    return replace(whole, tokens=tokens, levels=held)


def assert_same(found: Latents, expected: Latents) -> None:
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.levels, expected.levels)
    attributes = ("size", "fps", "frames", "phase", "tokenizer")
    assert all(getattr(found, name) == getattr(expected, name) for name in attributes)


@pytest.mark.parametrize("make", [coded_picture, coded_clip])
def test_every_cut_is_an_error_or_the_levels_that_are_whole(make) -> None:
    codec, coded = make()
    ends = ends_of_chunks(coded.data)
    groups = read_file(coded.data).header.groups
    assert ends[-1] == len(coded.data)
    for length in range(len(coded.data) + 1):
        whole = sum(end <= length for end in ends) - 1
        if whole < groups:
            with pytest.raises(ValueError):
                codec.read(coded.data[:length])
            continue
        found, content = codec.read(coded.data[:length])
        assert len(content.chunks) == whole
        assert content.is_cut == (whole < len(ends) - 1)
        assert_same(found, prefix(coded.latents, whole, groups))


@pytest.mark.parametrize("make", [coded_picture, coded_clip])
def test_a_file_decodes_to_the_latents_that_its_writer_saw(make) -> None:
    codec, coded = make()
    assert_same(codec.read(coded.data)[0], coded.latents)


@pytest.mark.parametrize("make", [coded_picture, coded_clip])
def test_fewer_levels_of_a_whole_file_equal_a_cut_one(make) -> None:
    codec, coded = make()
    ends, groups = ends_of_chunks(coded.data), read_file(coded.data).header.groups
    for levels in range(1, codec.tok.config.num_levels):
        fewer = decompress(coded.data, levels=levels, model=codec.tok)
        assert torch.equal(fewer, codec.tok.decode(coded.latents, levels=levels))
        with pytest.warns(UserWarning, match=" whole and decoded$"):
            cut = decompress(coded.data[: ends[levels * groups] + 1], model=codec.tok)
        assert torch.equal(fewer, cut)


def test_a_cut_between_groups_costs_detail_before_time() -> None:
    """The first three seconds keep the level that the last part lost; no frame is gone."""
    codec, coded = coded_clip()
    ends = ends_of_chunks(coded.data)
    with pytest.warns(UserWarning, match=" part of level 3 "):
        cut = decompress(coded.data[: ends[5]], model=codec.tok)
    whole = decompress(coded.data, model=codec.tok)
    fewer = decompress(coded.data, levels=2, model=codec.tok)
    assert cut.shape == whole.shape
    frames = torch.arange(23)
    # Of eight segments of three frames, the first is short of one.
    early = frames < 6 * 3 - 1
    assert torch.equal(cut[:, :, early], whole[:, :, early])
    assert torch.equal(cut[:, :, ~early], fewer[:, :, ~early])
    assert not torch.equal(whole[:, :, ~early], fewer[:, :, ~early])


@pytest.mark.parametrize(
    ("make", "chunks", "note"),
    [
        (coded_picture, 1, "level 1 of 5 is whole and decoded"),
        (coded_picture, 4, "levels 1 to 4 of 5 are whole and decoded"),
        (coded_clip, 2, "level 1 of 3 is whole and decoded"),
        (coded_clip, 3, "level 1 and part of level 2 of 3 are whole and decoded"),
        (coded_clip, 5, "levels 1 to 2 and part of level 3 of 3 are whole and decoded"),
    ],
)
def test_a_cut_file_says_what_is_left(make, chunks: int, note: str) -> None:
    codec, coded = make()
    data = coded.data[: ends_of_chunks(coded.data)[chunks]]
    with pytest.warns(UserWarning) as warned:
        decompress(data, model=codec.tok)
    assert [str(warning.message) for warning in warned] == [f"the file was cut: {note}"]
    assert warned[0].filename == __file__


def test_a_whole_file_says_nothing() -> None:
    codec, coded = coded_picture()
    content: FileContent = codec.read(coded.data)[1]
    assert cut_note(content) is None
    ends = ends_of_chunks(coded.data)
    decompress(coded.data[: ends[3]], levels=3, model=codec.tok)  # asks for no more
