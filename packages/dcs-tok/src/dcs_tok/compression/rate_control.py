"""Rate control: the number of patches and the step that serve a target best.

    quality   the step as asked; patches by a rule measured on photos
    bytes     for each number of patches the finest step that fits; of these the highest PSNR
    psnr      for each number of patches the coarsest step that reaches it; of these the smallest

Patches are tried from the rule's choice in both directions, as long as it helps, but for large
pictures, where a trial takes seconds and the rule is within a tenth of a dB. Level maps are no
part of the search: with symbols chosen by rate and distortion a zero costs next to nothing, and
maps made files up to 4 % larger at equal or lower PSNR (docs/results.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log10

import numpy as np
import torch
from torch import Tensor

from dcs_common.geometry import Rate
from dcs_common.latents import Latents
from dcs_tok.compression.codec import Codec, Coded
from dcs_tok.compression.quantiser import MAX_QUALITY

SIDES = (4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 22, 26, 32, 40, 48, 64)
"""Sides of patches in pixels that are tried."""
_MAX_CLIMB = 4_000_000
"""Pixels of a picture or clip up to which other numbers of patches are tried than the rule's."""
_EXACT = 200.0
"""PSNR above that of any picture that differs at all, for arithmetic with one that does not."""
_LARGEST_GRID = 2**18
"""Patches of a segment that the search does not exceed."""
_RULE = (
    # quality, side in pixels, bits per pixel, dB: the best pairs on photos (docs/results.md)
    (0, 64, 0.004, 18.0),
    (26, 32, 0.022, 23.4),
    (29, 25, 0.038, 24.4),
    (31.5, 20, 0.07, 25.7),
    (33, 17, 0.105, 26.8),
    (34.5, 14, 0.2, 28.6),
    (38, 12.3, 0.33, 30.4),
    (42, 12, 0.45, 31.5),
    (50, 12, 0.7, 33.6),
    (57, 11.8, 1.0, 35.6),
    (61, 10.5, 1.4, 37.3),
    (66, 8.5, 2.2, 39.5),
    (80, 6, 4.0, 45.0),
    (100, 4, 8.0, 50.0),
)
_QUALITY, _SIDE, _BPP, _PSNR = (np.array(column) for column in zip(*_RULE, strict=True))


@dataclass(frozen=True)
class Trial:
    """A file and how good it is.

    Attributes:
        coded: the file.
        quality: of its step.
        psnr: in dB, against the source, of the decode in 8 bits.
    """

    coded: Coded
    quality: int
    psnr: float

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.coded.data)


class RateControl:
    """The search for one picture or clip.

    Args:
        codec: of the tokenizer.
        pixels: (1, 3, H, W) or (1, 3, T, H, W) in [0, 1].
        fps: of clips.
        levels: at most so many, or a map, which fixes the number of patches.
        patches: k, if it is not to be searched.
        report: called with a line of progress after each trial.
    """

    def __init__(
        self,
        codec: Codec,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.codec, self.pixels, self.fps, self.levels = codec, pixels, fps, levels
        self.fixed = patches
        self.report = report or (lambda line: None)
        self._latents: tuple[int, Latents] | None = None
        self._codings: dict[tuple[int, int], Coded] = {}

    # ---------------------------------------------------------------- targets

    def by_quality(self, quality: int) -> Coded:
        """Return the file of a step."""
        return self._code(self._patches(side_of_quality(quality)), quality)

    def by_bytes(self, limit: int) -> Trial:
        """Return the file of the highest PSNR that holds at most ``limit`` bytes.

        Raises:
            ValueError: if no file is that small; names the smallest.
        """
        if limit < 1:
            raise ValueError(self._too_small(limit))
        guess = quality_of_bpp(limit * 8 / self._pixels_in_all())

        def attempt(patches: int) -> Trial | None:
            quality = self._largest_fitting(patches, limit, guess)
            return None if quality is None else self._trial(patches, quality)

        best = self._best(side_of_quality(guess), attempt, lambda trial: trial.psnr)
        if best is None:
            raise ValueError(self._too_small(limit))
        return best

    def by_psnr(self, target: float) -> Trial:
        """Return the smallest file found whose PSNR is at least ``target`` dB.

        Raises:
            ValueError: if no file reaches it; names the best.
        """
        reached: list[float] = []
        smallest = float("inf")

        def attempt(patches: int) -> Trial | None:
            nonlocal smallest
            found = self._smallest_reaching(patches, target, smallest, reached)
            if found is not None:
                smallest = min(smallest, found.size)
            return found

        start = side_of_quality(quality_of_psnr(target))
        best = self._best(start, attempt, lambda trial: -trial.size)
        if best is None:
            raise ValueError(
                f"`psnr` must be one that a file of this picture can reach, but is {target:g}. The "
                f"best that was found is {max(reached):.2f} dB. Ask for that or less."
            )
        return best

    # ---------------------------------------------------------------- search

    def _best(
        self,
        start: float,
        attempt: Callable[[int], Trial | None],
        value: Callable[[Trial], float],
    ) -> Trial | None:
        """Climb from the patches of side ``start``, in the ladder of sides, to the best trial."""
        ladder = self._ladder()
        at = min(range(len(ladder)), key=lambda i: abs(log(self._side(ladder[i]) / start)))
        found: dict[int, Trial | None] = {at: attempt(ladder[at])}
        if found[at] is not None and self._pixels_in_all() > _MAX_CLIMB:
            return found[at]
        for direction in (-1, 1):
            i = at
            while 0 <= i + direction < len(ladder):
                i += direction
                if i not in found:
                    found[i] = attempt(ladder[i])
                here, before = found[i], found[i - direction]
                # What cannot do it at all may be on the way to what can.
                if before is not None and (here is None or value(here) <= value(before)):
                    break
        good = [trial for trial in found.values() if trial is not None]
        return max(good, key=value) if good else None

    def _largest_fitting(self, patches: int, limit: int, guess: int) -> int | None:
        """Return the highest quality whose file fits, or None."""
        low, high = -1, MAX_QUALITY + 1  # fits, does not fit
        quality = guess
        while high - low > 1:
            size = len(self._code(patches, quality).data)
            if size <= limit:
                low = quality
                if size > 0.985 * limit:  # a step of quality is 4 %
                    break
            else:
                high = quality
            # Files grow by about 4 % for each step of quality.
            ahead = round(log(limit / size) / 0.045)
            quality = min(max(quality + ahead, low + 1), high - 1)
        return None if low < 0 else low

    def _smallest_reaching(
        self, patches: int, target: float, worth: float, reached: list[float]
    ) -> Trial | None:
        """Return the file of the lowest quality that reaches a PSNR in ``worth`` bytes, or None."""
        low, high = -1, MAX_QUALITY + 1  # misses, reaches
        found, before = None, None
        quality = quality_of_psnr(target)
        while high - low > 1:
            trial = self._trial(patches, quality)
            reached.append(trial.psnr)
            if trial.psnr >= target:
                high, found = quality, trial
            elif trial.size >= worth:
                break
            else:
                low = quality
            slope, psnr = 0.3, min(trial.psnr, _EXACT)
            if before is not None and before[0] != quality:
                slope = (psnr - before[1]) / (quality - before[0])
            before = quality, psnr
            ahead = round((target - psnr) / max(slope, 0.02))
            quality = min(max(quality + ahead, low + 1), high - 1)
        return found

    # ---------------------------------------------------------------- trials

    def _trial(self, patches: int, quality: int) -> Trial:
        coded = self._code(patches, quality)
        psnr = eight_bit_psnr(self.codec.tok.decode(coded.latents), self.pixels)
        self.report(f"{patches} patches, quality {quality}: {len(coded.data)} bytes, {psnr:.2f} dB")
        return Trial(coded, quality, psnr)

    def _code(self, patches: int, quality: int) -> Coded:
        key = patches, quality
        if key not in self._codings:
            if self._latents is None or self._latents[0] != patches:
                self._codings.clear()  # the latents of one grid are enough to hold
                latents = self.codec.tok.encode(self.pixels, self.fps, self.levels, patches)
                self._latents = patches, latents
            self._codings[key] = self.codec.code(self._latents[1], quality)
        return self._codings[key]

    # ---------------------------------------------------------------- patches

    def _ladder(self) -> list[int]:
        """Return numbers of patches, from few to many."""
        if self.fixed is not None:
            return [self.fixed]
        return sorted({self._patches(side) for side in SIDES})

    def _patches(self, side: float) -> int:
        """Return k for patches of about so many pixels a side."""
        return patches_of_side(self.pixels, side) if self.fixed is None else self.fixed

    def _side(self, patches: int) -> float:
        return min(self.pixels.shape[-2:]) / patches

    def _pixels_in_all(self) -> int:
        return self.pixels[:, 0].numel()

    def _too_small(self, limit: int) -> str:
        smallest = len(self._code(self._ladder()[0], 0).data)
        return (
            f"The bytes must be enough for the smallest file of this picture, {smallest}, but are "
            f"{limit}. Ask for more, or for fewer levels."
        )


def side_of_quality(quality: int) -> float:
    """Return the side of patches, in pixels, that suits a quality on most pictures."""
    return float(np.exp(np.interp(quality, _QUALITY, np.log(_SIDE))))


def patches_of_side(pixels: Tensor, side: float) -> int:
    """Return k for patches of about so many pixels a side, for pixels (..., H, W)."""
    height, width = pixels.shape[-2:]
    short = min(height, width)
    most = max(1, int((_LARGEST_GRID * short / max(height, width)) ** 0.5))
    return min(max(1, round(short / side)), short, most)


def quality_of_bpp(bpp: float) -> int:
    """Return the quality whose files have about so many bits per pixel."""
    return round(float(np.interp(log(bpp), np.log(_BPP), _QUALITY)))


def quality_of_psnr(psnr: float) -> int:
    """Return the quality whose files have about so many dB."""
    return round(float(np.interp(psnr, _PSNR, _QUALITY)))


def eight_bit_psnr(decoded: Tensor, source: Tensor) -> float:
    """Return the PSNR in dB of a decode rounded to 8 bits, as a picture file holds it."""
    error = 0.0
    for one, other in zip(decoded.unbind(-2), source.unbind(-2), strict=True):
        rounded = one.mul(255).round_().div_(255)
        error += float((rounded - other.to(rounded)).square().sum(dtype=torch.float64))
    return float("inf") if error == 0 else -10 * log10(error / decoded.numel())
