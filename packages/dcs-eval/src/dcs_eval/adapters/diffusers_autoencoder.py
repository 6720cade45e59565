"""Autoencoders of the library diffusers: AutoencoderKL and AutoencoderDC.

pixels [0, 1] --[-1, 1], reflected to the stride--> encode --mode of the posterior--> tokens
tokens --decode--> [-1, 1] --cropped to the source's size, [0, 1]--> pixels

One token is one place of the latent map.
"""

import json
import warnings
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dcs_common.geometry import Rate
from dcs_common.latents import Latents
from dcs_common.torchvision_import import import_torchvision
from dcs_eval.adapters.single_level import (
    SCALE_RULE,
    SingleLevelConfig,
    at_size,
    check_pixels,
    check_request,
)

KINDS = ("AutoencoderKL", "AutoencoderDC")
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model"
#: A repository is an autoencoder's own, or a whole pipeline's with the autoencoder in a folder.
_FOLDERS = ("", "vae/")


class DiffusersAutoencoder(nn.Module):
    """An autoencoder of diffusers as a tokenizer with one level.

    The latent is the mode of the posterior, unscaled; ``scaling_factor`` is for diffusion models.
    Pictures whose sides the stride does not divide are continued by reflection, and cropped after
    decoding. These autoencoders decode at the source's size alone; another size is resized from
    that (:data:`SCALE_RULE`), so that their agreement between scales says nothing of them.

    Args:
        model: an ``AutoencoderKL`` or ``AutoencoderDC``, or what has the same methods.

    Attributes:
        config: one level, and the channels of the latent.
        stride: pixels of a token's side.
        scale_rule: how it decodes at other sizes.
    """

    scale_rule = SCALE_RULE

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        about: Any = model.config
        self.config = SingleLevelConfig(latent_channels=int(about.latent_channels))
        ratio = getattr(model, "spatial_compression_ratio", None)
        # Every block of AutoencoderKL's encoder but the last halves both sides.
        self.stride = int(ratio or 2 ** (len(about.block_out_channels) - 1))

    @classmethod
    def from_pretrained(cls, model: str | PathLike[str]) -> Self:
        """Load a folder or hub id; what lies in the hub's cache needs no network.

        Weights are read from safetensors files only. A pipeline gives its ``vae``.

        Raises:
            ValueError: if diffusers is not installed, nothing is found, or it is no autoencoder
                of these kinds.
        """
        library = _import_diffusers()
        folder, kind = _autoencoder(_local_folder(str(model)), str(model))
        loader = getattr(library, kind)
        try:
            found = loader.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # of the library's many kinds
            raise ValueError(
                f"A folder of diffusers must hold a whole {kind} with weights as safetensors, but "
                f"{folder} does not ({_first_line(error)}). Save or download it again."
            ) from None
        return cls(found)

    def tokens(self, size: tuple[int, int]) -> int:
        """Return the tokens of a picture of (height, width)."""
        rows, columns = (-(-extent // self.stride) for extent in size)
        return rows * columns

    @torch.no_grad()
    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
    ) -> Latents:
        """Encode pixels (b, 3, H, W) in [0, 1].

        Raises:
            ValueError: if they are no pictures, too small to be reflected, or more than one level
                is asked for.
        """
        check_request(fps, levels, patches)
        check_pixels(pixels)
        height, width = pixels.shape[-2:]
        bottom, right = -height % self.stride, -width % self.stride
        if bottom >= height or right >= width:
            raise ValueError(
                f"Pictures must have more than half a token of {self.stride} pixels on each side, "
                f"but this one is {width}x{height}. Enlarge it."
            )
        whole = pad(2 * pixels - 1, (0, right, 0, bottom), mode="reflect")
        encoded: Any = self.model.encode(whole)  # type: ignore[operator]
        posterior = getattr(encoded, "latent_dist", None)
        latent: Tensor = encoded.latent if posterior is None else posterior.mode()
        tokens = latent.permute(0, 2, 3, 1)[:, None, :, :, None]
        return Latents(tokens=tokens, size=(height, width))

    @torch.no_grad()
    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Decode to pixels in [0, 1]; resized where ``size`` is not the source's.

        Raises:
            ValueError: if more than one level or a frame rate is asked for.
        """
        check_request(fps, levels)
        latent = latents.tokens[:, 0, :, :, 0].permute(0, 3, 1, 2).contiguous()
        decoded: Tensor = self.model.decode(latent).sample  # type: ignore[operator]
        height, width = latents.size
        return at_size((decoded[..., :height, :width] / 2 + 0.5).clamp(0, 1), size)


def load(model: str | None) -> DiffusersAutoencoder:
    """Return the autoencoder in a folder or under a hub id, for ``dcs.tokenizers``.

    Raises:
        ValueError: if there is none, or no model is named.
    """
    if model is None:
        raise ValueError(
            "The tokenizer 'diffusers' needs a model, but none is named. Pass the folder or hub id "
            f"of an {' or '.join(KINDS)} as `--model`."
        )
    return DiffusersAutoencoder.from_pretrained(model)


def _import_diffusers() -> ModuleType:
    """Return diffusers, which is imported late and with care: it imports torchvision if it can."""
    if find_spec("diffusers") is None:
        raise ValueError(
            "diffusers is needed here, but it is not installed. Install it with "
            "`pip install 'dcs-eval[diffusers]'`."
        )
    if find_spec("torchvision") is not None:
        import_torchvision("dcs-eval[diffusers]")
    return import_module("diffusers")


def _local_folder(model: str) -> Path:
    """Return a model's folder: itself, from the hub's cache, or downloaded."""
    if Path(model).is_dir():
        return Path(model)
    hub = import_module("huggingface_hub")
    files = [
        folder + name
        for folder in _FOLDERS
        for name in (
            _CONFIG,
            f"{_WEIGHTS}.safetensors",
            f"{_WEIGHTS}-*.safetensors",
            f"{_WEIGHTS}.safetensors.index.json",
        )
    ]
    try:
        return Path(hub.snapshot_download(model, allow_patterns=files, local_files_only=True))
    except Exception:  # not a hub id, or not in the cache: the next call says which
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Path(hub.snapshot_download(model, allow_patterns=files))
    except Exception as error:  # of the hub's and the network's many kinds
        raise ValueError(
            f"`model` must be a folder or a hub id, but {model!r} is no folder, not in the hub's "
            f"cache, and could not be downloaded ({_first_line(error)}). Check the name, or "
            "download it on another machine."
        ) from None


def _autoencoder(root: Path, model: str) -> tuple[Path, str]:
    """Return the folder that holds an autoencoder, and the name of its class."""
    found = None
    for folder in (root / part for part in _FOLDERS):
        try:
            about = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found = about.get("_class_name") if isinstance(about, dict) else None
        if found in KINDS:
            return folder, found
    raise ValueError(
        f"A model of diffusers must be an {' or '.join(KINDS)}, as {_CONFIG} says under "
        f"`_class_name`, but {model} is {found!r}. Name the folder of the autoencoder."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
