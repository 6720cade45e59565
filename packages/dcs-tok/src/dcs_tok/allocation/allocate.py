"""``allocate_levels``: a level map for a picture or clip and an average."""

from typing import Literal, get_args

import torch
from torch import Tensor

from dcs_common.geometry import Rate, source_grid
from dcs_tok.allocation.entropy import allocate_by_weight, grey_entropy
from dcs_tok.allocation.gains import allocate_by_gain, measured_gains, predicted_gains
from dcs_tok.pixels import check_pixels
from dcs_tok.tokenizer import DCSTok

AllocationMethod = Literal["entropy", "greedy", "predicted"]
METHODS: tuple[AllocationMethod, ...] = get_args(AllocationMethod)


@torch.no_grad()
def allocate_levels(
    pixels: Tensor,
    average: float,
    minimum: int = 1,
    maximum: int | None = None,
    method: AllocationMethod = "predicted",
    model: DCSTok | None = None,
    *,
    fps: Rate | None = None,
    patches: int | None = None,
) -> Tensor:
    """Give patches of a picture or clip as many levels as they deserve.

    - "entropy": Algorithm 1 of the paper, by the entropy of grey levels; needs no decoding.
    - "greedy": by the measured gain of each patch's next level; decodes every level once.
    - "predicted": the same by gains that follow from the latents; encodes, and decodes nothing.

    Args:
        pixels: (b, 3, H, W) or (b, 3, T, H, W), RGB in [0, 1].
        average: mean level count that no sample's map exceeds.
        minimum, maximum: bounds of every patch's count; the maximum is the model's by default.
        method: how to decide.
        model: the tokenizer; the bundled one by default.
        fps, patches: as of :meth:`dcs_tok.DCSTok.encode`.

    Returns:
        Level counts (b, t, h, w), int64 on the CPU, for :meth:`dcs_tok.DCSTok.encode`.

    Raises:
        ValueError: naming requirement, value and remedy.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}, but is {method!r}. Choose one.")
    tok = DCSTok.from_pretrained() if model is None else model
    maximum = tok.config.num_levels if maximum is None else maximum
    if not 1 <= minimum <= average <= maximum <= tok.config.num_levels:
        raise ValueError(
            "Levels must be 1 <= minimum <= average <= maximum <= "
            f"{tok.config.num_levels}, but are {minimum}, {average} and {maximum}. Change them."
        )
    clip, rate = check_pixels(pixels, fps)
    size = (clip.shape[3], clip.shape[4])
    grid = source_grid(
        size,
        clip.shape[2],
        rate,
        patches=tok.config.patches_of(size) if patches is None else patches,
        segments_per_second=tok.config.segments_per_second,
    )
    if method == "entropy":
        weights = grey_entropy(clip.float(), grid).flatten(1)
        levels = [allocate_by_weight(row, average, minimum, maximum) for row in weights]
    else:
        latents = tok.encode(pixels, fps, maximum, patches)
        if method == "greedy":
            gains = measured_gains(tok, clip, latents, grid)
        else:
            gains = predicted_gains(tok, latents, grid)
        rows = gains.flatten(1, 3)
        budget = int(average * rows.shape[1])
        levels = [allocate_by_gain(row, budget, minimum) for row in rows]
    return torch.stack(levels).unflatten(1, grid.shape).cpu()
