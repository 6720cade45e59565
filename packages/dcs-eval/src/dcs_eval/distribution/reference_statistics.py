"""Mean and covariance of a reference, kept in a file: our own, or ADM's npz (Dhariwal 2021)."""

import json
import zipfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_eval.distribution.feature_rows import check_one_space
from dcs_eval.distribution.frechet import FeatureStatistics, gaussian_frechet_distance
from dcs_eval.distribution.npz_pictures import NpzPictures

STATISTICS_FORMAT = 1
ADM_SPACE = "inception-2015-12-05"
#: What is added to a space's name for the spatial features of sFID.
SPATIAL_PART = "-mixed_6-7-channels"
ADM_SPATIAL_SPACE = ADM_SPACE + SPATIAL_PART
_ADM_ARRAYS: tuple[str, ...] = ("mu", "sigma", "mu_s", "sigma_s")
_KIND = "dcs-feature-statistics"
_ASYMMETRY = 1e-6  # of ADM's covariances, relative to the largest entry: rounding


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReferenceStatistics:
    """What a Fréchet distance needs of a reference, in float64.

    Attributes:
        space: name of the feature space.
        mean: (D).
        covariance: (D, D).
        count: of pictures; None where the file does not say.
        pictures: digest of the pictures; None where the file does not say.
    """

    space: str
    mean: Tensor
    covariance: Tensor
    count: int | None = None
    pictures: str | None = None

    @classmethod
    def of(cls, statistics: FeatureStatistics, *, space: str, pictures: str | None = None) -> Self:
        """Return the statistics of at least 2 pictures as a reference.

        Raises:
            ValueError: if there are fewer.
        """
        return cls(
            space=space,
            mean=statistics.mean,
            covariance=statistics.covariance,
            count=statistics.count,
            pictures=pictures,
        )

    def distance(self, samples: FeatureStatistics, *, space: str) -> float:
        """Return the squared Fréchet distance of samples.

        Args:
            samples: their statistics.
            space: the feature space that these are from.

        Raises:
            ValueError: if the space or the number of features is another, or there are fewer than
                2 samples.
        """
        if space != self.space:
            raise ValueError(
                f"Samples and reference must lie in one feature space, but the samples are in "
                f"{space} and the reference in {self.space}. Compute both with the same network."
            )
        check_one_space(len(samples.mean), len(self.mean))
        return gaussian_frechet_distance(
            samples.mean, samples.covariance, self.mean, self.covariance
        )

    def write(self, path: str | PathLike[str]) -> None:
        """Write them, whole or not at all.

        Raises:
            ValueError: if the folder does not exist.
        """
        about = {
            "kind": _KIND,
            "format": STATISTICS_FORMAT,
            "space": self.space,
            "count": self.count,
            "pictures": self.pictures,
        }
        tensors = {"mean": self.mean.contiguous(), "covariance": self.covariance.contiguous()}
        write_atomically(Path(path), to_safetensors(tensors, {"about": json.dumps(about)}))

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read what :meth:`write` wrote.

        Raises:
            ValueError: if the file is missing, damaged, of another kind or format, or not
                consistent.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("about", "null"))
                names = set(file.keys())
                tensors = {
                    key: file.get_tensor(key) for key in ("mean", "covariance") if key in names
                }
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(
                f"Statistics must be a whole safetensors file, but {path} is not ({error}). "
                "Compute them again."
            ) from None
        if not isinstance(about, dict) or about.get("kind") != _KIND:
            raise ValueError(
                f"A file of statistics must say that it is one, but {path} does not. Give a file "
                "that dcs-eval wrote."
            )
        if about.get("format") != STATISTICS_FORMAT:
            raise ValueError(
                f"The format of statistics must be {STATISTICS_FORMAT}, but {path} has "
                f"{about.get('format')!r}. Update dcs-eval, or compute them again."
            )
        mean, covariance = _checked(tensors, "mean", "covariance", path)
        return cls(
            space=str(about["space"]),
            mean=mean,
            covariance=covariance,
            count=about["count"],
            pictures=about["pictures"],
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AdmReference:
    """What an npz of ADM's evaluation holds.

    Attributes:
        statistics: of the whole data set in ``pool_3`` (2048): what gFID is measured against.
        spatial: the same of ``mixed_6`` (2023), for sFID; None where the file has none.
        pictures: some of the data set, for precision and recall; None where the file has none.
    """

    statistics: ReferenceStatistics
    spatial: ReferenceStatistics | None
    pictures: NpzPictures | None


def read_adm_reference(path: str | PathLike[str]) -> AdmReference:
    """Read a reference of guided-diffusion's evaluation, as ``VIRTUAL_imagenet256_labeled.npz``.

    ``mu`` (2048) and ``sigma`` (2048, 2048), ``mu_s`` (2023) and ``sigma_s`` (2023, 2023), and
    ``arr_0``, 8-bit pictures (N, H, W, 3). Nothing is unpickled.

    Raises:
        ValueError: if the file is missing or damaged, ``mu`` or ``sigma`` is absent, or an array
            has another shape, is not finite or, of a covariance, not symmetric.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("one array and no npz")
        with opened as file:
            held = set(file.files)
            arrays = {
                name: torch.from_numpy(np.array(file[name])) for name in _ADM_ARRAYS if name in held
            }
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"A reference of ADM's must be a whole npz without objects, but {path} is not "
            f"({error}). Download it again."
        ) from None
    mean, covariance = _checked(arrays, "mu", "sigma", path)
    spatial = None
    if "mu_s" in held or "sigma_s" in held:
        spatial_mean, spatial_covariance = _checked(arrays, "mu_s", "sigma_s", path)
        spatial = ReferenceStatistics(
            space=ADM_SPATIAL_SPACE, mean=spatial_mean, covariance=spatial_covariance
        )
    return AdmReference(
        statistics=ReferenceStatistics(space=ADM_SPACE, mean=mean, covariance=covariance),
        spatial=spatial,
        pictures=NpzPictures(path) if "arr_0" in held else None,
    )


def _checked(
    arrays: dict[str, Tensor], mean: str, covariance: str, path: str | PathLike[str]
) -> tuple[Tensor, Tensor]:
    """Return a mean (D) and a covariance (D, D) in float64."""
    absent = [name for name in (mean, covariance) if name not in arrays]
    if absent:
        raise ValueError(
            f"Statistics must hold {mean} and {covariance}, but {path} lacks "
            f"{' and '.join(absent)}. Give a file of statistics, not of pictures alone."
        )
    first, second = arrays[mean], arrays[covariance]
    if first.ndim != 1 or not len(first) or tuple(second.shape) != (len(first), len(first)):
        raise ValueError(
            f"{mean} and {covariance} must have the shapes (D,) and (D, D), but in {path} they "
            f"have {tuple(first.shape)} and {tuple(second.shape)}. Compute them again."
        )
    first, second = first.double(), second.double()
    for name, array in ((mean, first), (covariance, second)):
        if not array.isfinite().all():
            raise ValueError(
                f"Statistics must be finite, but {int((~array.isfinite()).sum())} numbers of "
                f"{name} in {path} are not. Compute them again."
            )
    difference = float((second - second.T).abs().max())
    if difference > _ASYMMETRY * float(second.abs().max()) or float(second.diagonal().min()) < 0:
        raise ValueError(
            f"A covariance must be symmetric, with variances of at least 0, but {covariance} in "
            f"{path} differs from its transpose by {difference:.3g}, and its least variance is "
            f"{float(second.diagonal().min()):.3g}. Compute it again."
        )
    return first, second
