"""The perceptual loss (L_percept of Eq. 6): LPIPS by the library of its authors."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Self

import torch
from torch import Tensor, nn

from dcs_tok.losses.frames import frames_of
from dcs_tok.losses.lpips_network import TRUNKS, TrunkName, lpips_network
from dcs_tok.losses.reconstruction import check_alike
from dcs_tok.losses.windows import crop_windows


class PerceptualLoss(nn.Module):
    """LPIPS (Zhang et al. 2018, version 0.1) of pixels in [0, 1], frame by frame.

    The network is frozen, stays in eval mode and belongs to no state dict, optimiser or average
    of weights; it follows ``.to(...)`` all the same.

    Args:
        trunk: the features to compare: "vgg", as the work that the paper follows has it,
            "alex", which the authors of LPIPS recommend for measuring, or "squeeze", the
            smallest (3 MB).
        trunk_weights: file of the trunk's weights, .pth or .safetensors, with torchvision's keys
            with or without ``features.``; None takes torch.hub's cache or downloads.
        heads: file of LPIPS' heads; None takes the one in lpips' wheel.
        max_size: compare windows of at most so many pixels a side, drawn anew at every call, so
            that large scales cost no more than small ones; None compares whole pictures.

    Raises:
        ValueError: if lpips is not installed, weights are missing or do not fit, or ``max_size``
            is too small for the trunk.
    """

    def __init__(
        self,
        trunk: TrunkName = "vgg",
        *,
        trunk_weights: str | PathLike[str] | None = None,
        heads: str | PathLike[str] | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__()
        # In a tuple, where nn.Module does not look for submodules.
        self._frozen: tuple[Any] = (lpips_network(trunk, trunk_weights, heads),)
        self.trunk = trunk
        self.smallest_side = TRUNKS[trunk].smallest_side
        if max_size is not None and max_size < self.smallest_side:
            raise ValueError(
                f"`max_size` must be at least {self.smallest_side} for the trunk {trunk!r}, but "
                f"is {max_size}. Use larger windows."
            )
        self.max_size = max_size

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let ``.to``, ``.cuda`` and their kind reach the network."""
        self._frozen[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(
        self,
        reconstruction: Tensor,
        target: Tensor,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Return the mean distance over all frames, a scalar.

        Args:
            reconstruction, target: (b, 3, H, W) or (b, 3, T, H, W); the reconstruction before
                clamping.
            generators: one per sample, to draw windows; needed where a side exceeds
                ``max_size``.

        Raises:
            ValueError: if shapes differ or are not those of pictures, a side is too short for
                the trunk, or generators are missing.
        """
        check_alike(reconstruction, target)
        if min(reconstruction.shape[-2:]) < self.smallest_side:
            height, width = reconstruction.shape[-2:]
            raise ValueError(
                f"Pictures must have at least {self.smallest_side} pixels a side for the trunk "
                f"{self.trunk!r}, but have {width}x{height}. Enlarge them, or leave the "
                "perceptual loss out at this size."
            )
        if self.max_size is not None:
            reconstruction, target = crop_windows(
                (reconstruction, target), self.max_size, generators
            )
        (network,) = self._frozen
        return network(frames_of(reconstruction), frames_of(target), normalize=True).mean()
