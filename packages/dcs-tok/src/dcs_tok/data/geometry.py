"""The scales of a training step: one size, rate and patch grid for all samples of its batch.

Content and scale are independent (Sec. 6.2): input and target of a pair show the same content at
two scales, drawn independently, and share one patch grid. What is drawn comes from short lists,
so that a run meets a bounded number of tensor shapes.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch

from dcs_common.config import added
from dcs_common.geometry import Rate, exact_rate, frames_at_rate, patches_of_side
from dcs_common.training import seeded_generator
from dcs_tok.data.sources import Kind

STEPS_PER_BLOCK = 64
"""Within so many steps the share of clips is kept; their order is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleConfig:
    """What the scales of a step are drawn from.

    Attributes:
        short_sides: pixels along the shorter side.
        aspects: (height, width) in any unit, such as (3, 4).
        patches: values of k, the patches along the shorter side.
        patch_pixels: side of a patch in pixels, from which k follows in place of ``patches``, for
            a tokenizer whose tokens grow with the scale
            (:attr:`dcs_tok.DCSTokConfig.patch_pixels`).
        asymmetric: draw the target's scale independently of the input's; else they are equal.
        crop: ``"largest"`` takes the largest region of the aspect, at a random place, and resizes
            it to both scales (the paper's). ``"native"`` takes as many source pixels as the
            larger scale has, which are then not resampled at all; a smaller picture falls back
            to the largest region.
        flip: mirror half of the samples, left to right.
        clip_share: share of the steps whose batches are clips.
        first_frames: the first frame of every clip of the sources is a picture, too (Table 4's
            second stage). Of files alone: shards of pictures hold what they hold.
        fps: frame rates of clips. Rates above a clip's own repeat frames.
        clip_seconds: duration of a clip; 2/3 s at 24 fps are 16 frames.

    Raises:
        ValueError: if a value is out of range, or no short side has a pixel for every patch.
    """

    short_sides: tuple[int, ...]
    aspects: tuple[tuple[int, int], ...] = ((1, 1),)
    patches: tuple[int, ...] = (16,)
    asymmetric: bool = False
    crop: Literal["largest", "native"] = "largest"
    flip: bool = True
    clip_share: float = 0.0
    first_frames: bool = False
    fps: tuple[Rate, ...] = (24,)
    clip_seconds: float = 2 / 3
    patch_pixels: int | None = added(None)

    def __post_init__(self) -> None:
        for name in ("short_sides", "aspects", "patches", "fps"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must not be empty, but is (). Give at least one value.")
        for name in ("short_sides", "patches"):
            if min(getattr(self, name)) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1, but are {getattr(self, name)}. "
                    "Remove the others."
                )
        for aspect in self.aspects:
            if len(aspect) != 2 or min(aspect) < 1:
                raise ValueError(
                    f"`aspects` must be pairs of positive integers, but hold {aspect}. "
                    "Give height and width, such as (3, 4)."
                )
        if self.crop not in ("largest", "native"):
            raise ValueError(f"`crop` must be 'largest' or 'native', but is {self.crop!r}.")
        if not 0 <= self.clip_share <= 1:
            raise ValueError(f"`clip_share` must be in [0, 1], but is {self.clip_share}.")
        if not 0 < self.clip_seconds < float("inf"):
            raise ValueError(
                f"`clip_seconds` must be a positive duration, but is {self.clip_seconds}."
            )
        for rate in self.fps:
            exact_rate(rate)
        if self.patch_pixels is not None:
            if self.patch_pixels < 1:
                raise ValueError(
                    f"`patch_pixels` must be at least 1 or None, but is {self.patch_pixels}."
                )
            if self.asymmetric:
                raise ValueError(
                    "`asymmetric` must be False with `patch_pixels`, but is True: input and target "
                    "share a grid, and a fixed patch ties it to one scale. Leave one of them out."
                )
        elif max(self.short_sides) < min(self.patches):
            raise ValueError(
                "A short side must have at least one pixel per patch, but `short_sides` are "
                f"{self.short_sides} and `patches` {self.patches}. Give larger sides or fewer "
                "patches."
            )

    def drawable_patches(self) -> tuple[int, ...]:
        """Return the values of k to draw from: those that some short side has pixels for."""
        largest = max(self.short_sides)
        if self.patch_pixels is not None:
            return tuple(patches_of_side(side, self.patch_pixels) for side in self.short_sides)
        return tuple(k for k in self.patches if k <= largest)

    def sides_of(self, patches: int) -> tuple[int, ...]:
        """Return the short sides to draw from once k is known."""
        if self.patch_pixels is not None:
            pairs = zip(self.short_sides, self.drawable_patches(), strict=True)
            return tuple(side for side, k in pairs if k == patches)
        return tuple(side for side in self.short_sides if side >= patches)


@dataclass(frozen=True, slots=True)
class BatchGeometry:
    """The scales of one step.

    Attributes:
        kind: what the batch holds.
        patches: k of the grid that both scales share.
        size, target_size: (height, width) in pixels.
        fps, target_fps: exact frame rates; None for pictures.
        frames, target_frames: 1 for pictures.
    """

    kind: Kind
    patches: int
    size: tuple[int, int]
    target_size: tuple[int, int]
    fps: Fraction | None = None
    target_fps: Fraction | None = None
    frames: int = 1
    target_frames: int = 1

    @property
    def is_symmetric(self) -> bool:
        """Whether input and target are one scale."""
        return self.size == self.target_size and self.fps == self.target_fps

    @property
    def larger_size(self) -> tuple[int, int]:
        """The larger of both sizes."""
        return max(self.size, self.target_size)


def scaled_size(aspect: tuple[int, int], short_side: int, patches: int) -> tuple[int, int]:
    """Return the (height, width) nearest to ``aspect`` whose grid is that of the aspect itself.

    The long side of every scale gets ``round(k * long / short)`` patches of the *aspect*
    (half up), whatever the rounding to whole pixels does.
    """
    height, width = aspect
    short, long = min(aspect), max(aspect)
    columns = (2 * patches * long + short) // (2 * short)
    # round_half_up(k * pixels / short_side) == columns, solved for the long side's pixels
    smallest = -(-(2 * columns - 1) * short_side // (2 * patches))
    largest = -(-(2 * columns + 1) * short_side // (2 * patches)) - 1
    nearest = (2 * short_side * long + short) // (2 * short)
    pixels = min(max(nearest, smallest), largest)
    return (pixels, short_side) if height > width else (short_side, pixels)


def draw_geometry(config: ScaleConfig, generator: torch.Generator, kind: Kind) -> BatchGeometry:
    """Draw the scales of one step.

    k comes first, then the short sides among those with a pixel for every patch; all values of
    a list are equally likely. With fixed patches, all short sides are.
    """

    def drawn(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    possible = config.drawable_patches()
    patches = possible[drawn(len(possible))]
    sides = config.sides_of(patches)
    aspect = config.aspects[drawn(len(config.aspects))]
    side, target_side = sides[drawn(len(sides))], sides[drawn(len(sides))]
    size = scaled_size(aspect, side, patches)
    target_size = scaled_size(aspect, target_side, patches) if config.asymmetric else size
    if kind == "picture":
        return BatchGeometry(kind, patches, size, target_size)
    rates = [exact_rate(rate) for rate in config.fps]
    fps, target_fps = rates[drawn(len(rates))], rates[drawn(len(rates))]
    if not config.asymmetric:
        target_fps = fps
    seconds = exact_rate(config.clip_seconds)
    frames = max(1, int(seconds * fps + Fraction(1, 2)))
    target_frames = frames_at_rate(frames, fps, target_fps)
    return BatchGeometry(kind, patches, size, target_size, fps, target_fps, frames, target_frames)


def kind_of_step(clip_share: float, seed: int, step: int) -> tuple[Kind, int]:
    """Return what a step's batch holds, and how many steps of this kind came before it.

    Steps are taken in blocks of ``STEPS_PER_BLOCK``. The share of clips is kept in each block, up
    to one step, and in all blocks together; within a block the order is drawn. How many came
    before is therefore known without drawing for all the steps before.
    """
    block, place = divmod(step, STEPS_PER_BLOCK)
    share = Fraction(clip_share)
    before = int(block * STEPS_PER_BLOCK * share)
    clips = int((block + 1) * STEPS_PER_BLOCK * share) - before
    generator = seeded_generator(seed, "kinds", block)
    is_clip = torch.randperm(STEPS_PER_BLOCK, generator=generator) < clips
    clips_before = before + int(is_clip[:place].sum())
    return ("clip", clips_before) if is_clip[place] else ("picture", step - clips_before)


def geometry_of_step(config: ScaleConfig, seed: int, step: int) -> tuple[BatchGeometry, int]:
    """Return a step's scales, and how many steps of its kind came before it."""
    kind, before = kind_of_step(config.clip_share, seed, step)
    return draw_geometry(config, seeded_generator(seed, "geometry", step), kind), before
