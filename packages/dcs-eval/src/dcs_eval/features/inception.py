"""The Inception network of FID and of the Inception score, and where its weights come from."""

from http.client import HTTPException
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from dcs_common.torchvision_import import import_torchvision
from dcs_eval.eight_bit import to_bytes
from dcs_eval.features.weight_digest import space_name, weight_digest
from dcs_eval.features.weight_file import read_weights

INCEPTION_SPACE = "inception-2015-12-05"
#: Of torch-fidelity's and pytorch-fid's file, which are one file; it begins as their names end.
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FILES = (
    "weights-inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
)
INCEPTION_ADDRESS = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" + INCEPTION_FILES[0]
)
_EXTRA = "dcs-eval[inception]"
_LAYERS = ["2048", "logits_unbiased"]


class InceptionFeatures:
    """The feature space ``inception-2015-12-05``: 2048 numbers and 1008 logits of each picture.

    The only one on which a Fréchet distance is called FID (Heusel et al. 2017). torch-fidelity's
    ``FeatureExtractorInceptionV3`` runs the network that TensorFlow published on that day:
    pictures at 8 bits, resized to 299x299 as TensorFlow 1 did (bilinear, corner-anchored, without
    antialiasing, another aspect squeezed), average-pooled at the end. Logits are without the bias,
    as the Inception score is computed. torchmetrics' class resizes with antialiasing by default
    and gives other figures.

    Args:
        weights: the published file as ``torch.save`` wrote it; from torch.hub's cache, under
            torch-fidelity's or pytorch-fid's name for it, if None.
        device: where to compute.
        checksum: SHA-256 that the file must have; None for a network of one's own. Any other
            than the published weights are called ``inception-unverified-`` and eight digits.
        download: whether to fetch what the cache lacks (95 MB).

    Raises:
        ValueError: if torch-fidelity is not installed, the weights are missing or others, or the
            download fails.
    """

    size = 2048
    classes = 1008

    def __init__(
        self,
        weights: str | PathLike[str] | None = None,
        device: str | torch.device = "cpu",
        *,
        checksum: str | None = INCEPTION_SHA256,
        download: bool = False,
    ) -> None:
        if find_spec("torch_fidelity") is None:
            raise ValueError(
                "torch-fidelity is needed here, but it is not installed. Install it with "
                f"`pip install '{_EXTRA}'`."
            )
        file = Path(weights) if weights is not None else find_inception(download=download)
        self.sha256 = weight_digest(file, checksum)
        self.name = space_name(INCEPTION_SPACE, "inception", self.sha256, INCEPTION_SHA256)
        self._device = torch.device(device)
        self._network = _network(file).to(self._device)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the features (N, 2048) of pictures (N, 3, H, W) in [0, 1]."""
        return self.features_and_logits(pictures)[0]

    @torch.no_grad()
    def features_and_logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (N, 2048) and unbiased logits (N, 1008) of pictures (N, 3, H, W)."""
        features, logits = self._network(to_bytes(pictures).to(self._device))
        return features, logits


def find_inception(*, download: bool = False) -> Path:
    """Return the file of the weights in torch.hub's cache.

    Args:
        download: whether to fetch it if it is not there; its checksum is checked.

    Raises:
        ValueError: if it is not there, or the download fails.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name in INCEPTION_FILES:
        if (folder / name).is_file():
            return folder / name
    place = folder / INCEPTION_FILES[0]
    if not download:
        raise ValueError(
            f"FID needs the Inception weights of 2015-12-05, but torch.hub's cache has no {place}. "
            f"Download {INCEPTION_ADDRESS} to there, or pass the file's path as `weights`."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_ADDRESS, str(place), INCEPTION_SHA256)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError for another hash
        raise ValueError(
            f"FID needs the Inception weights of 2015-12-05, but downloading {INCEPTION_ADDRESS} "
            f"failed ({error}). Download it on another machine, and put it at {place}."
        ) from None
    return place


def _network(file: Path) -> torch.nn.Module:
    import_torchvision(_EXTRA)  # torch-fidelity imports it, and may need its cure
    library = import_module("torch_fidelity.feature_extractor_inceptionv3")
    # The library unpickles whatever the file holds: it is handed what was read safely.
    safe = BytesIO()
    torch.save(read_weights(file), safe)
    safe.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            return library.FeatureExtractorInceptionV3(
                INCEPTION_SPACE, list(_LAYERS), feature_extractor_weights_path=safe
            )
    except RuntimeError as error:  # as load_state_dict says that keys or shapes are others
        raise ValueError(
            "The file must hold the Inception network of torch-fidelity, but "
            f"{file} does not ({str(error).splitlines()[-1].strip()[:200]}). Give the file of that "
            "network."
        ) from None
