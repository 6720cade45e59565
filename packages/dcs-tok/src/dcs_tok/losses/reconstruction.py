"""The reconstruction loss (L_recon of Eq. 6)."""

from typing import Literal, get_args

from torch import Tensor

ReconstructionKind = Literal["l2", "log_l2"]
# A sample at 60 dB counts as done.
LOG_FLOOR = 1e-6


def reconstruction_loss(
    reconstruction: Tensor,
    target: Tensor,
    kind: ReconstructionKind = "l2",
    *,
    floor: float = LOG_FLOOR,
) -> Tensor:
    """Compare pixels (b, 3, H, W) or (b, 3, T, H, W) in [0, 1]; return a scalar.

    "l2" is Eq. 6: the mean of squared differences over everything. Samples that are hard to code
    have errors hundreds of times those of easy ones, and get as much more of the gradient.

    "log_l2" is the mean over samples of ``log(MSE + floor)``. As a sample's PSNR is
    ``-10 log10(MSE)``, its gradient is that of the mean PSNR times ``-ln(10) / 10``: each sample
    weighs by its relative error. It suits models that are judged by mean PSNR.

    Args:
        reconstruction, target: pixels of one shape; the reconstruction before clamping.
        kind: "l2" or "log_l2".
        floor: keeps the logarithm's gradient finite; it matters for samples near
            ``-10 log10(floor)`` dB, which is 60 dB by default.

    Raises:
        ValueError: if the shapes differ or ``kind`` is unknown.
    """
    check_alike(reconstruction, target)
    if kind not in get_args(ReconstructionKind):
        raise ValueError(f"`kind` must be 'l2' or 'log_l2', but is {kind!r}. Choose one of them.")
    squared = (reconstruction - target).square()
    if kind == "l2":
        return squared.mean()
    return (squared.flatten(1).mean(dim=1) + floor).log().mean()


def check_alike(reconstruction: Tensor, target: Tensor) -> None:
    """Check that both have one shape: broadcasting would hide a mistake.

    Raises:
        ValueError: if they have not.
    """
    if reconstruction.shape != target.shape:
        raise ValueError(
            f"Reconstruction and target must have one shape, but have "
            f"{tuple(reconstruction.shape)} and {tuple(target.shape)}. Decode at the target's "
            "size and frame rate."
        )
