"""Damage gives an error, or what a shorter file gives; never another picture unannounced."""

import random
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from dcs_common.latents import Latents
from dcs_tok.compression.codec import Codec, codec_of, decompress
from dcs_tok.compression.container import read_file
from dcs_tok.compression.quantiser import MAX_SYMBOL
from dcs_tok.compression.symbol_coder import DamagedDataError, SymbolEncoder

from .dcs_files import file_of
from .small_codec import small_tok, symbol_code, tok_with_networks, waves
from .test_compression_cuts import prefix

Damage = Callable[[random.Random, bytes], bytes]
SLOW = 5.0
"""Seconds that nothing may take."""


def flipped(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def changed(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 9))):
        out[rng.randrange(len(out))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 2, 4, len(data))) :]


def longer(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 4, 60))) + data[place:]


DAMAGES: tuple[Damage, ...] = (flipped, changed, cut, longer)


def picture() -> tuple[Codec, bytes, Latents]:
    """Chunks of 4 to 32 bytes, whose lengths are a bit away from 0, and an empty one."""
    codec = codec_of(small_tok())
    coded = codec.code(codec.tok.encode(waves(9, 11), patches=2), 30)
    return codec, coded.data, coded.latents


def picture_with_map() -> tuple[Codec, bytes, Latents]:
    codec = codec_of(tok_with_networks())
    levels = torch.tensor([[[5, 2, 3], [4, 5, 1]]])
    coded = codec.code(codec.tok.encode(waves(17, 23), levels=levels, patches=2), 50)
    return codec, coded.data, coded.latents


def clip() -> tuple[Codec, bytes, Latents]:
    codec = codec_of(small_tok())
    pixels = torch.stack([waves(8, 8, seed=i) for i in range(15)], dim=2)
    coded = codec.code(codec.tok.encode(pixels, 4, patches=1), 48)
    return codec, coded.data, coded.latents


MAKERS = (picture, picture_with_map, clip)


def decoded(codec: Codec, data: bytes) -> Latents | None:
    """Return the latents of a file, or None for one that is refused; in time, at any rate."""
    started = time.perf_counter()
    try:
        return codec.read(data)[0]
    except DamagedDataError:
        return None
    finally:
        assert time.perf_counter() - started < SLOW


def is_prefix(found: Latents, whole: Latents) -> bool:
    """Tell whether latents are those of the file, or of a shorter one."""
    groups = -(-whole.grid[0] // 6)
    for chunks in range(groups, groups * whole.num_levels + 1):
        expected = prefix(whole, chunks, groups)
        if torch.equal(found.levels, expected.levels):
            return torch.equal(found.tokens, expected.tokens) and (
                (found.size, found.fps, found.frames) == (whole.size, whole.fps, whole.frames)
            )
    return False


@pytest.mark.parametrize("make", MAKERS)
def test_damaged_files_are_refused_or_shorter(make) -> None:
    codec, data, whole = make()
    rng = random.Random(make.__name__)
    refused = 0
    for index in range(3334):
        damaged = DAMAGES[index % len(DAMAGES)](rng, data)
        found = decoded(codec, damaged)
        refused += found is None
        assert found is None or is_prefix(found, whole), damaged.hex()
    assert 1000 < refused < 3334


@pytest.mark.parametrize("make", MAKERS)
def test_no_single_bit_goes_unnoticed(make) -> None:
    """Every one of them; beside a length that became too long, which is a shorter file."""
    codec, data, whole = make()
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        found = decoded(codec, bytes(damaged))
        if found is not None:
            assert is_prefix(found, whole), place
            assert codec.read(bytes(damaged))[1].is_cut, place


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.filterwarnings("ignore:the file was cut")
def test_damaged_files_to_pixels(make) -> None:
    codec, data, whole = make()
    rng = random.Random(make.__name__)
    groups = -(-whole.grid[0] // 6)
    pictures = [
        codec.tok.decode(prefix(whole, count, groups))
        for count in range(groups, groups * whole.num_levels + 1)
    ]
    shown = 0
    for index in range(70):
        try:
            pixels = decompress(DAMAGES[index % len(DAMAGES)](rng, data), model=codec.tok)
        except ValueError:
            continue
        shown += 1
        assert any(torch.equal(pixels, one) for one in pictures)
    assert shown


def nonsense(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Yield files whose checksums are right and whose content is not."""
    content = read_file(data)
    start, length = 10, data[9]
    header, chunks = data[start : start + length], list(content.chunks)
    while True:
        new_header, new_chunks = header, list(chunks)
        if rng.random() < 0.4:
            new_header = rng.choice((flipped, changed))(rng, header)
        for _ in range(rng.randrange(3)):
            which = rng.randrange(len(chunks))
            damage = rng.choice((flipped, changed, cut, longer, lambda rng, _: rng.randbytes(80)))
            new_chunks[which] = damage(rng, new_chunks[which] or bytes(4))
            if rng.random() < 0.9:
                new_chunks[which] += bytes(-len(new_chunks[which]) % 4)
        yield file_of(new_header[:127], new_chunks)


@pytest.mark.parametrize("make", MAKERS)
def test_nonsense_under_right_checksums_is_refused_or_decoded(make) -> None:
    """The decoder meets symbols that nobody chose: still an error or latents, and in time."""
    codec, data, _ = make()
    rng = random.Random(make.__name__)
    shown = 0
    for _, damaged in zip(range(1500), nonsense(rng, data), strict=False):
        found = decoded(codec, damaged)
        if found is None:
            continue
        assert torch.isfinite(found.tokens).all(), damaged.hex()
        if found.frames * found.size[0] * found.size[1] < 10_000 and shown < 100:
            shown += 1
            pixels = codec.tok.decode(found)
            assert 0 <= pixels.min() <= pixels.max() <= 1
    assert shown == 100


def test_symbols_beyond_what_a_writer_clamps_to_are_refused() -> None:
    """Else means grow from them without bound, to where no sum is exact any more."""
    code = symbol_code()
    one = np.ones((1, 1, 1), dtype=np.int64)
    encoder = SymbolEncoder(code.tables)

    def write(_t: int, _y: object, _x: object, mean: object, scale: object) -> object:
        return encoder.code(mean, scale, np.full_like(mean, MAX_SYMBOL + 1))

    code.walk(one, 40, 6).level(0, write)
    with pytest.raises(DamagedDataError):
        code.decode([encoder.chunk()], one, 40, 6)
