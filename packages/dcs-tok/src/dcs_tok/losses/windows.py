"""Random windows: losses on large pictures at constant cost.

Perceptual loss and discriminator look at neighbourhoods of a fixed number of pixels, so a window
of a large picture trains as well as the whole, and its cost does not grow with the scale.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def crop_windows(
    pictures: Sequence[Tensor], max_size: int, generators: Sequence[torch.Generator] | None
) -> tuple[Tensor, ...]:
    """Cut the same window out of each sample of several batches (b, ..., H, W).

    Args:
        pictures: tensors with one b, H and W, say reconstruction and target. All frames of a
            clip share its window.
        max_size: longest side of a window in pixels. A side that is not longer stays whole.
        generators: one per sample, so that a sample's window depends neither on its batch mates
            nor on the number of processes. Not needed where nothing is cut.

    Returns:
        The windows, each (b, ..., min(H, max_size), min(W, max_size)).

    Raises:
        ValueError: if a window must be cut and there is not one generator per sample.
    """
    b, *_, height, width = pictures[0].shape
    if height <= max_size and width <= max_size:
        return tuple(pictures)
    if generators is None or len(generators) != b:
        found = "None" if generators is None else f"{len(generators)} for {b} samples"
        raise ValueError(
            f"Windows of {max_size} pixels from pictures of {width}x{height} need one generator "
            f"per sample, but `generators` is {found}. Pass one for each, or a larger `max_size`."
        )
    rows, columns = min(height, max_size), min(width, max_size)
    corners = [(_draw(height - rows, g), _draw(width - columns, g)) for g in generators]
    return tuple(
        torch.stack(
            [
                sample[..., top : top + rows, left : left + columns]
                for sample, (top, left) in zip(picture, corners, strict=True)
            ]
        )
        for picture in pictures
    )


def _draw(most: int, generator: torch.Generator) -> int:
    """Draw an integer from 0 to ``most``."""
    draw = torch.randint(most + 1, (), generator=generator, device=generator.device)
    return int(draw)
