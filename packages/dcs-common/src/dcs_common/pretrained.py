"""Model folders: ``config.json`` and ``model.safetensors``, local, bundled or on a hub.

huggingface_hub's mixin contributes ``save_pretrained``, ``push_to_hub`` and downloads; what is
written and how it is checked is decided here. Nothing is ever unpickled.
"""

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from dcs_common.atomic_file import write_atomically
from dcs_common.config import config_from_dict, config_to_dict

MODEL_FORMAT = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def fingerprint(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return 16 hexadecimal digits that name a config and the exact float32 weights."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Read and check the envelope of a folder's ``config.json``; return the config proper.

    Raises:
        ValueError: if it is missing, not JSON, of another kind of model or of a newer format.
    """
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(
            f"A model folder must hold {CONFIG_FILE}, but {folder} does not. Check the path."
        ) from None
    except ValueError:
        raise ValueError(
            f"{CONFIG_FILE} must be JSON, but {path} is not. It may be cut short; copy it again."
        ) from None
    if not isinstance(data, dict) or data.get("model") != kind:
        found = data.get("model") if isinstance(data, dict) else data
        raise ValueError(
            f"The folder must hold a {kind!r} model, but {folder} holds {found!r}. "
            "Load it with the class that saved it."
        )
    if data.get("format") != MODEL_FORMAT:
        raise ValueError(
            f"The model format must be {MODEL_FORMAT}, but {folder} has format "
            f"{data.get('format')!r}. Update the package that loads it."
        )
    config = data.get("config")
    if not isinstance(config, dict):
        raise ValueError(
            f"The config in {path} must be a JSON object, but is {config!r}. Save the model again."
        )
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a folder's tensors.

    Raises:
        ValueError: if the file is missing or not a whole safetensors file.
    """
    path = folder / WEIGHTS_FILE
    try:
        return from_safetensors(path.read_bytes())
    except OSError:
        raise ValueError(
            f"A model folder must hold {WEIGHTS_FILE}, but {folder} does not. Check the path."
        ) from None
    except SafetensorError as error:
        raise ValueError(
            f"{WEIGHTS_FILE} must be a whole safetensors file, but {path} is not ({error}). "
            "It may be cut short; copy it again."
        ) from None


class PretrainedModel(nn.Module, ModelHubMixin):
    """A module that is built from one frozen config and lives in a folder.

    Subclasses set ``config_class``, ``model_kind`` and, where weights ship in the wheel,
    ``bundled``: names to folders, the first being the default. ``companions`` names files that
    other parts of the package read from a model's folder.

    Attributes:
        config: the frozen config.
        fingerprint: names the weights; None while they may change.
        folder: where the model was loaded from, or None.
    """

    config_class: ClassVar[type]
    model_kind: ClassVar[str]
    bundled: ClassVar[dict[str, Path]] = {}
    companions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.fingerprint: str | None = None
        self.folder: Path | None = None

    def train(self, mode: bool = True) -> Self:
        """Set training mode; weights that may change have no fingerprint."""
        if mode:
            self.fingerprint = None
        return super().train(mode)

    def fingerprinted_tensors(self) -> dict[str, Tensor]:
        """Tensors that decide what a latent means; subclasses narrow this."""
        return dict(self.state_dict())

    def save_pretrained(
        self, save_directory: str | PathLike[str], *, dtype: torch.dtype | None = None, **hub: Any
    ) -> str | None:
        """Write the folder; ``dtype`` stores floating tensors in another precision."""
        # Not the mixin's own: it deletes the old config before anything new is written.
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._write_folder(folder, dtype)
        if hub.pop("push_to_hub", False):
            repository = hub.pop("repo_id", None) or folder.name
            return str(self.push_to_hub(repo_id=repository, **hub))
        return None

    def _write_folder(self, folder: Path, dtype: torch.dtype | None) -> None:
        tensors = {
            name: (tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor)
            .detach()
            .cpu()
            .contiguous()
            for name, tensor in self.state_dict().items()
        }
        envelope = {
            "model": self.model_kind,
            "format": MODEL_FORMAT,
            "config": config_to_dict(self.config),
        }
        write_atomically(folder / WEIGHTS_FILE, to_safetensors(tensors))
        text = json.dumps(envelope, indent=2) + "\n"
        write_atomically(folder / CONFIG_FILE, text.encode())

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | PathLike[str] | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a bundled model (by name, or the default), a folder or a Hugging Face hub id.

        Returns the model in float32, in eval mode, on the CPU. Bundled models and folders never
        touch the network.

        Raises:
            ValueError: if there is no such model, or its files are damaged, foreign or newer.
        """
        name = pretrained_model_name_or_path
        if name is None:
            if not cls.bundled:
                raise ValueError(f"{cls.__name__} ships no weights; give a folder or a hub id.")
            name = next(iter(cls.bundled))
        if str(name) in cls.bundled:
            folder = cls.bundled[str(name)]
        elif Path(name).is_dir():
            folder = Path(name)
        else:
            try:
                folder = Path(
                    snapshot_download(
                        str(name),
                        revision=revision,
                        token=token,
                        cache_dir=None if cache_dir is None else Path(cache_dir),
                        local_files_only=local_files_only,
                        allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, *cls.companions],
                    )
                )
            except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
                raise ValueError(
                    f"A model must be one of {sorted(cls.bundled)}, a folder or a hub id that can "
                    f"be reached, but {str(name)!r} is none ({type(error).__name__}). "
                    "Check the name and the network."
                ) from None
        return cls.from_folder(folder)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Load a folder; see :meth:`from_pretrained`."""
        config: Any = config_from_dict(cls.config_class, read_config(folder, cls.model_kind))
        tensors = read_weights(folder)
        with torch.device("meta"):
            model = cls(config)
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if expected != found:
            differing = sorted(
                name
                for name in expected.keys() | found.keys()
                if expected.get(name) != found.get(name)
            )
            raise ValueError(
                f"The weights must fit the config, but {len(differing)} tensors of {folder} are "
                f"missing, unknown or of another shape (first: {differing[0]!r}). "
                "Save the model again."
            )
        state = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
        broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise ValueError(
                f"Weights must be finite, but {broken[0]!r} in {folder} is not. "
                "Take an earlier checkpoint."
            )
        model.load_state_dict(state, assign=True)
        model.requires_grad_(True)
        model.eval()
        model.folder = folder
        model.fingerprint = fingerprint(config_to_dict(config), model.fingerprinted_tensors())
        return model
