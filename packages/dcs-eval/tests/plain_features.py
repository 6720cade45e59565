"""A feature space that needs no network, and pictures whose class it can tell."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

CLASSES = ("blue", "green", "red")


class MeanColours:
    """The mean colours of four quarters: 12 features."""

    name = "mean-colours"
    size = 12

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, pictures: Tensor) -> Tensor:
        self.sizes.append(len(pictures))
        return adaptive_avg_pool2d(pictures, 2).flatten(1)


def coloured(count: int, seed: int = 0, side: int = 24) -> tuple[Tensor, list[str]]:
    """Return pictures (count, 3, side, side) in 8-bit steps and their classes, by turns."""
    generator = torch.Generator().manual_seed(seed)
    labels = [CLASSES[index % 3] for index in range(count)]
    pictures = 0.5 * torch.rand(count, 3, 4, 4, generator=generator)
    for index, label in enumerate(labels):
        pictures[index, 2 - CLASSES.index(label)] += 0.3
    pictures = pictures.repeat_interleave(side // 4, 2).repeat_interleave(side // 4, 3)
    return pictures.mul(255).round() / 255, labels
