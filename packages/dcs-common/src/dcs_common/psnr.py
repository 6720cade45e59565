"""Peak signal-to-noise ratio."""

from math import inf, log10

from torch import Tensor


def psnr(first: Tensor, second: Tensor) -> float:
    """Return ``-10 log10(MSE)`` in dB between two tensors of one shape with values in [0, 1].

    Equal tensors give infinity. The mean is taken over everything, in float64.

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"Both pictures must have one shape, but have {tuple(first.shape)} and "
            f"{tuple(second.shape)}. Resize one of them."
        )
    error = (first.double() - second.double()).square().mean().item()
    return inf if error == 0 else -10 * log10(error)
