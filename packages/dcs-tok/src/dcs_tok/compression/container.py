"""The bytes of a ``.dcs`` file: a header, then one chunk per level and group of segments.

docs/formats.md describes every byte. A file may be cut anywhere behind its header: what is whole
before the cut is a file of fewer levels.
"""

import zlib
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from dcs_common.geometry import exact_rate, segment_frames
from dcs_tok.compression.level_coding import SEGMENTS_PER_GROUP
from dcs_tok.compression.level_map_code import decode_level_map, encode_level_map
from dcs_tok.compression.quantiser import MAX_QUALITY
from dcs_tok.compression.symbol_coder import DamagedDataError

MAGIC = b"\x89DCS\r\n\x1a\n"
"""As PNG's: the first byte is no text, and a transfer that changes line ends shows."""
FILE_FORMAT = 1
MAX_SIDE = 2**20
MAX_PIXELS = 2**30
MAX_PATCHES = 2**20
MAX_MAPPED = 2**19
"""Patches of a file with a level map, which is coded one count after the other."""
MAX_FRAMES = 2**18
MAX_FRAMES_OF_SEGMENT = 2**12
MAX_LEVELS = 64
_MAX_NUMBER = 2**63
_CLIP, _MAP, _PHASE = 1, 2, 4
_CHECK_BYTES = 3
_FINGERPRINT_BYTES = 8
_MAX_HEADER = 2**24

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """What a file says before its symbols.

    Attributes:
        entropy_model: fingerprint of the entropy model, and through it of the tokenizer.
        quality: of the global step.
        size: (height, width) of the source.
        fps, frames, phase: as of :class:`dcs_common.Latents`.
        levels: counts (t, h, w).
    """

    entropy_model: str
    quality: int
    size: tuple[int, int]
    fps: Fraction | None
    frames: int
    phase: Fraction
    levels: Ints

    @property
    def num_levels(self) -> int:
        """The highest count."""
        return int(self.levels.max())

    @property
    def groups(self) -> int:
        """Groups of segments: chunks of a level."""
        return -(-self.levels.shape[0] // SEGMENTS_PER_GROUP)


@dataclass(frozen=True)
class FileContent:
    """A file that was read.

    Attributes:
        header: its header.
        chunks: those that are whole, in order: all groups of level 1, then of level 2, ...
        is_cut: whether the file ends before the last chunk that was asked for.
    """

    header: FileHeader
    chunks: tuple[bytes, ...]
    is_cut: bool


def write_file(header: FileHeader, chunks: list[bytes]) -> bytes:
    """Return a whole file; chunks that are left out at the end are empty.

    Raises:
        ValueError: if no file can hold such a picture or clip.
    """
    has_map = bool((header.levels != header.levels.flat[0]).any())
    try:
        _check_limits(header, header.levels.shape, has_map)
    except DamagedDataError as error:
        raise ValueError(
            f"A picture or clip must be one that a .dcs file can hold, but this one is not "
            f"({error}). Use fewer patches, or cut it."
        ) from None
    parts = [_header_bytes(header, chunks, has_map)]
    for chunk in filter(None, chunks):
        parts += [_varint(len(chunk)), _check(chunk), chunk]
    return b"".join(parts)


def read_file(data: bytes, levels: int | None = None) -> FileContent:
    """Read a file, as far as it goes and no further than ``levels``.

    Raises:
        DamagedDataError: naming requirement, value and remedy.
    """
    reader = _Reader(data)
    header, is_empty = _read_header(reader)
    wanted = header.num_levels if levels is None else min(levels, header.num_levels)
    chunks: list[bytes] = []
    for index in range(wanted * header.groups):
        chunk = b"" if is_empty[index] else _read_chunk(reader)
        if chunk is None:
            return FileContent(header, tuple(chunks), True)
        if chunk is _BROKEN:
            level = index // header.groups + 1
            raise DamagedDataError(
                f"Level {level} of a .dcs file must have the checksum that was written, but has "
                "another: the file is damaged. "
                + (
                    f"Decode {level - 1} levels, or copy it again."
                    if level > 1
                    else "Copy it again."
                )
            )
        chunks.append(chunk)
    return FileContent(header, tuple(chunks), False)


# ---------------------------------------------------------------- header


def _header_bytes(header: FileHeader, chunks: list[bytes], has_map: bool) -> bytes:
    flags = 0
    if header.fps is not None:
        flags |= _CLIP
    if has_map:
        flags |= _MAP
    if header.phase:
        flags |= _PHASE
    t, h, w = header.levels.shape
    body = bytes.fromhex(header.entropy_model)
    body += bytes([flags, header.quality, header.num_levels])
    body += b"".join(map(_varint, (*header.size, h, w)))
    if header.fps is not None:
        fps = header.fps
        body += b"".join(map(_varint, (fps.numerator, fps.denominator, header.frames, t)))
    if header.phase:
        body += _varint(header.phase.numerator) + _varint(header.phase.denominator)
    full = [bool(chunk) for chunk in chunks] + [False] * (_num_chunks(header) - len(chunks))
    body += np.packbits(full, bitorder="little").tobytes()
    if has_map:
        body += encode_level_map(header.levels)
    start = MAGIC + bytes([FILE_FORMAT]) + _varint(len(body))
    return start + body + _check(start + body)


def _num_chunks(header: FileHeader) -> int:
    return header.num_levels * header.groups


def read_fingerprint(data: bytes) -> str:
    """Return the fingerprint of the entropy model that wrote a file; nothing else is parsed.

    Raises:
        DamagedDataError: if it is no .dcs file, or its header is cut or damaged.
    """
    return _header_body(_Reader(data))[:_FINGERPRINT_BYTES].hex()


def _read_header(reader: "_Reader") -> tuple[FileHeader, list[bool]]:
    """Return the header, and which chunks are empty."""
    body = _header_body(reader)
    try:
        return _parse_header(_Reader(body))
    except (DamagedDataError, ValueError, ArithmeticError) as error:
        raise DamagedDataError(
            f"The header of a .dcs file must be consistent, but is not ({error}). "
            "Write the file again."
        ) from None


def _header_body(reader: "_Reader") -> bytes:
    """Return the bytes of the header's body, whose checksum is right."""
    if reader.take(len(MAGIC)) != MAGIC:
        raise DamagedDataError(
            "A .dcs file must begin with its signature, but this one does not. It is another kind "
            "of file, or was changed in transfer."
        )
    version = reader.byte()
    if version is None:
        raise _cut_header()
    if version != FILE_FORMAT:
        raise DamagedDataError(
            f"The format of a .dcs file must be {FILE_FORMAT}, but is {version}. Update dcs-tok."
        )
    length = reader.varint()
    if length is None or length > _MAX_HEADER:
        raise _cut_header()
    start = reader.at
    body = reader.take(length)
    check = reader.take(_CHECK_BYTES)
    if len(body) < length or len(check) < _CHECK_BYTES:
        raise _cut_header()
    if check != _check(reader.data[: start + length]):
        raise DamagedDataError(
            "The header of a .dcs file must have the checksum that was written, but has another: "
            "the file is damaged. Copy it again."
        )
    return body


def _parse_header(reader: "_Reader") -> tuple[FileHeader, list[bool]]:
    fingerprint = reader.take(_FINGERPRINT_BYTES).hex()
    flags, quality, num_levels = reader.byte(), reader.byte(), reader.byte()
    if flags is None or quality is None or num_levels is None:
        raise DamagedDataError("it is too short")
    if (
        flags & ~(_CLIP | _MAP | _PHASE)
        or quality > MAX_QUALITY
        or not 1 <= num_levels <= MAX_LEVELS
    ):
        raise DamagedDataError(f"flags {flags}, quality {quality}, levels {num_levels}")
    height, width, rows, columns = (reader.number() for _ in range(4))
    fps, frames, segments = None, 1, 1
    if flags & _CLIP:
        fps = exact_rate(Fraction(reader.number(), reader.number()))
        frames, segments = reader.number(), reader.number()
    phase = Fraction(reader.number(), reader.number()) if flags & _PHASE else Fraction(0)
    shape = (segments, rows, columns)
    header = FileHeader(
        entropy_model=fingerprint,
        quality=quality,
        size=(height, width),
        fps=fps,
        frames=frames,
        phase=phase,
        levels=np.broadcast_to(np.int64(num_levels), shape),
    )
    _check_limits(header, shape, bool(flags & _MAP))
    count = _num_chunks(header)
    full = reader.take(-(-count // 8))
    if 8 * len(full) < count:
        raise DamagedDataError("it is too short")
    is_full = np.unpackbits(np.frombuffer(full, np.uint8), bitorder="little")
    if is_full[count:].any():
        raise DamagedDataError("it has more chunks than levels")
    if flags & _MAP:
        levels = decode_level_map(reader.rest(), shape, num_levels)
        if int(levels.max()) != num_levels:
            raise DamagedDataError(f"a level map up to {int(levels.max())} of {num_levels}")
    else:
        levels = np.full(shape, num_levels, dtype=np.int64)
        if reader.rest():
            raise DamagedDataError("it is too long")
    return replace(header, levels=levels), (is_full[:count] == 0).tolist()


def _check_limits(header: FileHeader, shape: tuple[int, ...], has_map: bool) -> None:
    """Refuse sizes that no reader takes; where there is a map, its counts are not looked at."""
    (height, width), (segments, rows, columns) = header.size, shape
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise DamagedDataError(f"{width} x {height} pixels")
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise DamagedDataError(f"{rows} x {columns} patches for {width} x {height} pixels")
    most = min(MAX_FRAMES, MAX_FRAMES_OF_SEGMENT * segments)
    if not 1 <= segments <= header.frames <= most:
        raise DamagedDataError(f"{segments} segments of {header.frames} frames")
    if segments * rows * columns > (MAX_MAPPED if has_map else MAX_PATCHES):
        raise DamagedDataError(f"{segments} x {rows} x {columns} patches")
    if header.num_levels > MAX_LEVELS:
        raise DamagedDataError(f"{header.num_levels} levels")
    if not 0 <= header.phase < 1:
        raise DamagedDataError(f"phase {header.phase}")
    for number in (header.fps or Fraction(1), header.phase):
        if max(number.numerator, number.denominator) >= _MAX_NUMBER:
            raise DamagedDataError(f"{number}, whose parts have more than 63 bits")


def check_segments(header: FileHeader, segments_per_second: int) -> None:
    """Refuse a header whose frames do not fall into its segments.

    Raises:
        DamagedDataError: if so.
    """
    try:
        segment_frames(
            header.frames, header.fps, segments_per_second, header.phase, header.levels.shape[0]
        )
    except ValueError as error:
        raise DamagedDataError(
            f"The header of a .dcs file must be consistent, but is not ({error}). "
            "Write the file again."
        ) from None


def _cut_header() -> DamagedDataError:
    return DamagedDataError(
        "A .dcs file must hold at least its header, but this one ends before. Copy it again."
    )


# ---------------------------------------------------------------- parts

_BROKEN = b"\x00broken"


def _read_chunk(reader: "_Reader") -> bytes | None:
    """Return the next chunk, None at a cut, or ``_BROKEN``."""
    length = reader.varint()
    if length is None:
        return None
    check, chunk = reader.take(_CHECK_BYTES), reader.take(length)
    if len(chunk) < length:
        return None
    return chunk if check == _check(chunk) else _BROKEN


def _check(data: bytes) -> bytes:
    """Return three bytes of the CRC-32."""
    return zlib.crc32(data).to_bytes(4, "little")[:_CHECK_BYTES]


def _varint(value: int) -> bytes:
    """Return LEB128: seven bits a byte, low ones first."""
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


class _Reader:
    """Takes bytes from the front; what is missing comes back short or as None."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        self.at += len(part)
        return part

    def rest(self) -> bytes:
        return self.take(len(self.data))

    def byte(self) -> int | None:
        part = self.take(1)
        return part[0] if part else None

    def varint(self) -> int | None:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            if byte is None:
                return None
            value += (byte % 128) << shift
            if byte < 128:
                return value
        return None

    def number(self) -> int:
        value = self.varint()
        if value is None:
            raise DamagedDataError("it is too short")
        return value
