"""How close a picture is to its reference: PSNR, SSIM, LPIPS."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from torch import Tensor

from dcs_common.psnr import psnr
from dcs_common.torchvision_import import import_torchvision
from dcs_eval.structural_similarity import ssim as ssim

#: Compares a picture with its reference, both (1, 3, H, W) in [0, 1]. With a method ``each`` as
#: :class:`dcs_eval.structural_similarity.StructuralSimilarity` has, it gets several at once.
Comparison = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a quality is written down.

    Attributes:
        key: the field of :class:`Quality` that holds it.
        title: its name in tables and plots, with the unit.
        decimals: digits that mean something.
        sign: 1 where more is better, -1 where less is.
    """

    key: str
    title: str
    decimals: int
    sign: int

    def text(self, value: float) -> str:
        """Return a value as a table shows it."""
        return f"{value:.{self.decimals}f}"


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(key="psnr", title="PSNR, dB", decimals=2, sign=1),
        Metric(key="ssim", title="SSIM", decimals=4, sign=1),
        Metric(key="lpips", title="LPIPS", decimals=4, sign=-1),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What was measured of one picture: PSNR in dB, and SSIM and LPIPS where asked for."""

    psnr: float
    ssim: float | None = None
    lpips: float | None = None


def measure(
    picture: Tensor,
    reference: Tensor,
    *,
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
) -> Quality:
    """Return the quality of a picture (1, 3, H, W) in [0, 1]; PSNR is always measured.

    Raises:
        ValueError: if the shapes differ, or a picture is too small for a metric.
    """
    return Quality(
        psnr=psnr(picture, reference),
        ssim=None if ssim is None else ssim(picture, reference),
        lpips=None if lpips is None else lpips(picture, reference),
    )


def import_metrics(module: str) -> ModuleType:
    """Return a module of the extra ``dcs-eval[metrics]``, which are imported late and with care.

    Raises:
        ValueError: if the extra is not installed.
    """
    extra = "dcs-eval[metrics]"
    library = module.partition(".")[0]
    if find_spec(library) is None:
        raise ValueError(
            f"{library} is needed here, but it is not installed. Install it with "
            f"`pip install '{extra}'`, or measure PSNR alone."
        )
    import_torchvision(extra)  # both libraries import it, and may need its cure
    return import_module(module)
