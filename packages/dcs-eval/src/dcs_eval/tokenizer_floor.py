"""Real pictures through a tokenizer alone: where the distances of its generators begin.

real pictures --encode--> latents --decode levels 1..m--> features --> Fréchet distance to the
reference, of every m

A generator of latents can come as near to real pictures as its decoder, and hardly nearer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_eval.decoding import decoded
from dcs_eval.distribution.frechet import FeatureStatistics, frechet_distance
from dcs_eval.eight_bit import to_bytes
from dcs_eval.features.feature_space import FeatureSpace
from dcs_eval.markdown import counted
from dcs_eval.reconstruction import level_counts

_BATCH = 64
_PIXELS = 2**22  # of a batch, over all levels: 50 MB


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenizedPictures:
    """Real pictures, and the tokenizer that they go through.

    Attributes:
        tokenizer: anything that encodes and decodes pictures by levels.
        pictures: (1, 3, H, W) in [0, 1], one after another, each encoded and decoded at its own
            size.
        source: what they are, for tables: "the reference", or where they are from.
        levels: the level counts to decode; all of them by default.
        patches: along the short side; None for the tokenizer's own number.
    """

    tokenizer: ImageTokenizer
    pictures: Iterable[Tensor]
    source: str
    levels: Sequence[int] | None = None
    patches: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFloor:
    """Real pictures through one tokenizer at one level count.

    Attributes:
        tokenizer: its name in tables.
        source: what the pictures are.
        pictures: how many went through.
        patches: along the short side; None for the tokenizer's own number.
        level: how many levels were decoded.
        frechet: squared Fréchet distance to the reference.
    """

    tokenizer: str
    source: str
    pictures: int
    patches: int | None
    level: int
    frechet: float

    @property
    def title(self) -> str:
        """What tables call its row, without the level."""
        return f"{counted(self.pictures)} of {self.source} through {self.tokenizer}"

    def content(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        return asdict(self)


FLOOR_NOTE = (
    "Rows with `through` are real pictures that were encoded and decoded, and nothing was "
    "generated: where the distances of that tokenizer's generators begin, at an equal number of "
    "pictures."
)


@torch.inference_mode()
def measure_floor(
    name: str, given: TokenizedPictures, features: FeatureSpace, reference: FeatureStatistics
) -> tuple[TokenizerFloor, ...]:
    """Return the distances of real pictures through a tokenizer, level by level.

    Every picture is encoded once, and rounded to 8 bits as files hold it after decoding. Memory
    holds one batch, whatever the number of pictures.

    Args:
        name: of the tokenizer, in tables.
        given: the tokenizer, and what goes through it.
        features: where distances are taken.
        reference: statistics of real pictures in that space.

    Raises:
        ValueError: if a level count or picture is not usable, there are fewer than 2 pictures, or
            the tokenizer refuses the number of patches or decodes what is not finite.
    """
    counts = level_counts(given.levels, given.tokenizer.config.num_levels)
    found: dict[int, FeatureStatistics] = {}
    for level, pictures in _batches(given, counts):
        some = FeatureStatistics.of(features(to_bytes(pictures).float().div(255)))
        found[level] = found[level].merge(some) if level in found else some
    number = found[counts[0]].count if found else 0
    if number < 2:
        raise ValueError(
            f"A Fréchet distance needs at least 2 pictures on each side, but {number} of "
            f"{given.source} went through {name}. Add pictures."
        )
    return tuple(
        TokenizerFloor(
            tokenizer=name,
            source=given.source,
            pictures=statistics.count,
            patches=given.patches,
            level=level,
            frechet=frechet_distance(statistics, reference),
        )
        for level, statistics in found.items()
    )


def _batches(given: TokenizedPictures, counts: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yield level counts and decodes (N, 3, H, W) of them, neighbours of one size together."""
    waiting: list[list[Tensor]] = []
    for decodes in _decodes(given, counts):
        pixels = decodes[0].shape[-2] * decodes[0].shape[-1] * len(counts)
        full = len(waiting) == _BATCH or (len(waiting) + 1) * pixels > _PIXELS
        if waiting and (full or decodes[0].shape != waiting[0][0].shape):
            yield from zip(counts, map(torch.cat, zip(*waiting, strict=True)), strict=True)
            waiting = []
        waiting.append(decodes)
    if waiting:
        yield from zip(counts, map(torch.cat, zip(*waiting, strict=True)), strict=True)


def _decodes(given: TokenizedPictures, counts: Sequence[int]) -> Iterator[list[Tensor]]:
    """Yield what every picture is decoded to at each level count."""
    tokenizer: Any = given.tokenizer
    # A tokenizer whose patches have a fixed size need not take a number of them.
    patches = {} if given.patches is None else {"patches": given.patches}
    for index, pixels in enumerate(given.pictures):
        what = f"picture number {index} of {given.source}"
        if pixels.ndim != 4 or pixels.shape[:2] != (1, 3) or not pixels.is_floating_point():
            raise ValueError(
                f"Each picture must be a float tensor (1, 3, H, W) in [0, 1], but {what} is "
                f"{pixels.dtype} {tuple(pixels.shape)}. Pass RGB, one picture at a time."
            )
        size = (pixels.shape[-2], pixels.shape[-1])
        latents = tokenizer.encode(pixels, levels=max(counts), **patches)
        yield [decoded(tokenizer, latents, levels=n, what=what, size=size) for n in counts]
