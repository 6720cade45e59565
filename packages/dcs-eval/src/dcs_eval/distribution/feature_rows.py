"""Features as every distance takes them: rows of finite numbers, in float64 on the CPU."""

from torch import Tensor


def feature_rows(features: Tensor) -> Tensor:
    """Return features (N, D) of at least one picture in float64 on the CPU.

    Raises:
        ValueError: if they have another shape, or are not finite.
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError(
            f"Features must have the shape (N, D), but have {tuple(features.shape)}. "
            "Pass a row for each of one or more pictures."
        )
    exact = features.detach().cpu().double()
    if not exact.isfinite().all():
        raise ValueError(
            f"Features must be finite, but {int((~exact.isfinite()).any(1).sum())} of "
            f"{len(exact)} rows are not. Check the pictures and the weights."
        )
    return exact


def check_one_space(size: int, other_size: int) -> None:
    """Check that two sets have as many features.

    Raises:
        ValueError: if not.
    """
    if size != other_size:
        raise ValueError(
            f"Both sets must lie in one feature space, but have {size} and "
            f"{other_size} features. Compute both with the same network."
        )
