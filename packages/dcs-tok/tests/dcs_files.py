"""Headers of ``.dcs`` files, and files put together from parts that no writer would write."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from dcs_tok.compression.container import FILE_FORMAT, MAGIC, FileHeader, _check, _varint

NAME = "0123456789abcdef"
PICTURE = FileHeader(
    entropy_model=NAME,
    quality=40,
    size=(5, 300),
    fps=None,
    frames=1,
    phase=Fraction(0),
    levels=np.full((1, 2, 3), 2),
)
CLIP = replace(
    PICTURE,
    size=(5, 7),
    fps=Fraction(30000, 1001),
    frames=9,
    phase=Fraction(1, 3),
    levels=np.array([[[1, 2, 1], [3, 1, 1]]] * 2),
)


def body(
    *numbers: int, flags: int = 0, quality: int = 40, levels: int = 2, more: bytes = b""
) -> bytes:
    """Return a header's body of numbers as they are, without a check."""
    start = bytes.fromhex(NAME) + bytes([flags, quality, levels])
    return start + b"".join(map(_varint, numbers)) + more


def file_of(header_body: bytes, chunks: tuple[bytes, ...] | list[bytes] = ()) -> bytes:
    """Return a file whose checksums are right, whatever it says."""
    start = MAGIC + bytes([FILE_FORMAT]) + _varint(len(header_body)) + header_body
    parts = [start, _check(start)]
    for chunk in filter(None, chunks):
        parts += [_varint(len(chunk)), _check(chunk), chunk]
    return b"".join(parts)


@st.composite
def headers(draw: st.DrawFn) -> FileHeader:
    """Draw a header that a writer may write."""
    is_clip = draw(st.booleans())
    t = draw(st.integers(1, 9)) if is_clip else 1
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    highest = draw(st.integers(1, 64))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    levels = rng.integers(1, highest + 1, (t, h, w))
    if draw(st.booleans()):
        levels[:] = highest
    rates = st.fractions(Fraction(1, 100), 1000, max_denominator=100_000)
    phases = st.fractions(0, Fraction(99, 100), max_denominator=1001)
    return FileHeader(
        entropy_model=rng.bytes(8).hex(),
        quality=draw(st.integers(0, 100)),
        size=(draw(st.integers(h, 2**15)), draw(st.integers(w, 2**15))),
        fps=draw(rates) if is_clip else None,
        frames=draw(st.integers(t, min(2**16, 2**12 * t))) if is_clip else 1,
        phase=draw(phases) if is_clip else Fraction(0),
        levels=levels,
    )
