"""A tokenizer with its entropy model: latents to the bytes of a ``.dcs`` file, bytes to pixels."""

import warnings
from dataclasses import dataclass
from functools import cache
from os import PathLike
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.latents import Latents
from dcs_tok.compression.container import (
    FileContent,
    FileHeader,
    check_segments,
    read_file,
    read_fingerprint,
    write_file,
)
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel
from dcs_tok.compression.level_coding import SymbolCode
from dcs_tok.compression.quantiser import area_class
from dcs_tok.compression.symbol_coder import DamagedDataError
from dcs_tok.tokenizer import DCSTok

KAPPA = 0.065
"""Squared error, in squared steps, that a bit is worth when symbols are chosen. Measured."""


# Not of codecs, which would keep their tokenizers from going.
_CODES: WeakKeyDictionary[DCSTok, SymbolCode] = WeakKeyDictionary()


@dataclass(frozen=True)
class Coded:
    """A file and what it decodes from.

    Attributes:
        data: the file.
        latents: dequantised.
    """

    data: bytes
    latents: Latents


class Codec:
    """A tokenizer with its entropy model.

    Raises:
        ValueError: if the tokenizer has no entropy model.
    """

    def __init__(self, tok: DCSTok) -> None:
        if tok not in _CODES:
            _CODES[tok] = SymbolCode(EntropyModel.of(tok))
        self.tok, self._code = tok, _CODES[tok]
        self.model = self._code.model

    def code(self, latents: Latents, quality: int, *, kappa: float = KAPPA) -> Coded:
        """Quantise and code latents of one picture or clip.

        Args:
            latents: of this tokenizer, with a batch of one.
            quality: of the global step, 0 to 100.
            kappa: as of :meth:`SymbolCode.encode`.
        """
        steps = self._steps(latents, quality)
        scaled = (latents.tokens.cpu().float() / steps)[0].double().numpy()
        level_map = latents.levels[0].cpu().numpy().astype(np.int64)
        area = area_class(latents.size, latents.grid)
        chunks: list[bytes] = []
        levels = []
        for of_groups, of_level in self._code.encode(scaled, level_map, quality, area, kappa):
            chunks += of_groups
            levels.append(of_level)
        header = FileHeader(
            entropy_model=self.model.fingerprint,
            quality=quality,
            size=latents.size,
            fps=latents.fps,
            frames=latents.frames,
            phase=latents.phase,
            levels=level_map,
        )
        symbols = torch.from_numpy(np.stack(levels, axis=3))
        return Coded(
            write_file(header, chunks),
            self._latents(header, symbols, torch.from_numpy(level_map)),
        )

    def read(self, data: bytes, levels: int | None = None) -> tuple[Latents, FileContent]:
        """Return the latents of a file, and what was read.

        Raises:
            DamagedDataError: if the file is damaged, cut before the end of level 1, or needs
                another model.
        """
        content = read_file(data, levels)
        header = content.header
        if header.entropy_model != self.model.fingerprint:
            raise DamagedDataError(
                f"A .dcs file must be decoded with the model that wrote it "
                f"({header.entropy_model}), but this one is {self.model.fingerprint}. "
                "Load that model, with `--model` on the command line."
            )
        config = self.tok.config
        if header.num_levels > config.num_levels:
            raise DamagedDataError(
                f"A .dcs file must have at most {config.num_levels} levels for this model, but "
                f"has {header.num_levels}. Write the file again."
            )
        check_segments(header, config.segments_per_second)
        if len(content.chunks) < header.groups:
            raise DamagedDataError(
                "A .dcs file must hold at least its whole first level, but this one ends before. "
                "Copy it again."
            )
        area = area_class(header.size, header.levels.shape)
        try:
            symbols, held = self._code.decode(content.chunks, header.levels, header.quality, area)
        except DamagedDataError as error:
            raise DamagedDataError(
                f"The symbols of a .dcs file must decode, but do not ({error}): the file is "
                "damaged or was not written by dcs-tok. Copy it again."
            ) from None
        return self._latents(header, torch.from_numpy(symbols), torch.from_numpy(held)), content

    def _latents(self, header: FileHeader, symbols: Tensor, levels: Tensor) -> Latents:
        latents = Latents(
            tokens=symbols.unsqueeze(0).float(),
            levels=levels.unsqueeze(0),
            size=header.size,
            fps=header.fps,
            frames=header.frames,
            phase=header.phase,
            tokenizer=self.tok.fingerprint,
        )
        latents.tokens.mul_(self._steps(latents, header.quality))
        return latents

    def _steps(self, latents: Latents, quality: int) -> Tensor:
        return self.model.steps(latents, self.tok.config.segments_per_second, quality)


DEFAULT_MODEL = "dcs-tok-nano-rate"
"""The bundled model that was trained for compression."""


def codec_of(model: DCSTok | str | PathLike[str] | None) -> Codec:
    """Return the codec of a tokenizer; default the bundled one.

    Raises:
        ValueError: if there is no such model, or it has no entropy model.
    """
    tok = model if isinstance(model, DCSTok) else _loaded(str(model or DEFAULT_MODEL))
    return Codec(tok)


@cache
def _bundled(name: str) -> DCSTok:
    return DCSTok.from_pretrained(name)


def _loaded(name: str) -> DCSTok:
    """Return a model by name; a folder's files may have changed since the last time."""
    return _bundled(name) if name in DCSTok.bundled else DCSTok.from_pretrained(name)


@cache
def _bundled_by_fingerprint() -> dict[str, str]:
    """Return the bundled models that can compress, by their entropy models."""
    return {
        EntropyModel.load(folder).fingerprint: name
        for name, folder in DCSTok.bundled.items()
        if (folder / ENTROPY_FILE).exists()
    }


def writer_of(data: bytes) -> str:
    """Return the name of the bundled model that wrote a file, or the default's.

    Raises:
        ValueError: if it is no .dcs file.
    """
    return _bundled_by_fingerprint().get(read_fingerprint(data), DEFAULT_MODEL)


def decompress(
    data: bytes,
    size: tuple[int, int] | None = None,
    fps: Rate | None = None,
    levels: int | None = None,
    model: DCSTok | str | PathLike[str] | None = None,
) -> Tensor:
    """Decode the bytes of a ``.dcs`` file to pixels in [0, 1].

    A file that was cut decodes at the levels that are whole, with a warning.

    Args:
        data: the file.
        size: (height, width), any; default the source's.
        fps: of clips, any; default the source's.
        levels: use at most so many.
        model: the tokenizer that wrote it, a name or a folder; default the bundled one that did.

    Returns:
        (1, 3, H, W), or (1, 3, T, H, W) for clips.

    Raises:
        ValueError: naming requirement, value and remedy.
    """
    codec = codec_of(writer_of(data) if model is None else model)
    check_levels(levels, codec.tok)
    latents, content = codec.read(data, levels)
    note = cut_note(content)
    if note:
        warnings.warn(note, stacklevel=2)
    return codec.tok.decode(latents, size, fps)


def check_levels(levels: int | None, tok: DCSTok) -> None:
    """Check a level count.

    Raises:
        ValueError: if it is out of range.
    """
    if levels is not None and not 1 <= levels <= tok.config.num_levels:
        raise ValueError(
            f"`levels` must be between 1 and {tok.config.num_levels}, but is {levels}. "
            "Leave it out for all there are."
        )


def cut_note(content: FileContent) -> str | None:
    """Say that a file was cut, if it was."""
    if not content.is_cut:
        return None
    header = content.header
    whole, more = divmod(len(content.chunks), header.groups)
    part = f" and part of level {whole + 1}" if more else ""
    return (
        f"the file was cut: level{'s' if whole > 1 else ''} {'1 to ' if whole > 1 else ''}{whole}"
        f"{part} of {header.num_levels} {'are' if whole > 1 or more else 'is'} whole and decoded"
    )
