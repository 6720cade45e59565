"""The entropy model of a tokenizer: what ``entropy_model.safetensors`` beside its weights holds.

Integer weights of the context network, integer probability tables, and the steps of the quantiser.
"""

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_common.latents import Latents
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.integer_context import (
    ACTIVATION_BITS,
    BIAS_BITS,
    MAX_ACTIVATION,
    MAX_WEIGHT,
    WEIGHT_BITS,
    LevelNetwork,
)
from dcs_tok.compression.probability_tables import laplace_tables
from dcs_tok.compression.quantiser import (
    MAX_AREA_CLASS,
    MAX_QUALITY,
    by_segment,
    step_of_quality,
    unit_steps,
)
from dcs_tok.tokenizer import DCSTok

ENTROPY_FILE = "entropy_model.safetensors"
ENTROPY_FORMAT = 1
_KIND = "dcs-entropy-model"
_KINDS = ("still", "moving")

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """Everything that coding needs beside the tokenizer.

    Attributes:
        tensors: integers by the names of :class:`ContextNetwork`'s parameters; ``initial_state``
            (qualities, area classes, width); ``tables`` (scale, fraction, cell); ``still_steps``
            and ``moving_steps`` (n, d), float32.
        tokenizer: fingerprint of the tokenizer whose latents it knows.
    """

    tensors: dict[str, Array]
    tokenizer: str

    def __post_init__(self) -> None:
        n, d = self.tensors["still_steps"].shape
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in ContextNetwork(n, d, self.width).state_dict().items()
        }
        shapes |= {
            "tables": laplace_tables().shape,
            "moving_steps": (n, d),
            "initial_state": (MAX_QUALITY + 1, MAX_AREA_CLASS + 1, self.width),
        }
        found = {name: tensor.shape for name, tensor in self.tensors.items() if name in shapes}
        if shapes != found:
            raise ValueError("tensors are missing or of another shape")

    @property
    def width(self) -> int:
        """Channels of the context network."""
        return int(self.tensors["initial_state"].shape[2])

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name everything that decides how a file is coded."""
        digest = hashlib.sha256(self.tokenizer.encode())
        for name in sorted(self.tensors):
            if not name.startswith("condition."):
                tensor = np.ascontiguousarray(self.tensors[name])
                digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
                digest.update(tensor.tobytes())
        return digest.hexdigest()[:16]

    def level_networks(self) -> list[LevelNetwork]:
        """Return the context network of each level."""
        networks = []
        for level in range(len(self.tensors["still_steps"])):
            prefix = f"levels.{level}."
            networks.append(
                LevelNetwork(
                    {
                        name.removeprefix(prefix): tensor
                        for name, tensor in self.tensors.items()
                        if name.startswith(prefix)
                    }
                )
            )
        return networks

    def steps(self, latents: Latents, segments_per_second: int, quality: int) -> Tensor:
        """Return the steps of latents at a quality: (t, 1, 1, m, d), float32."""
        still, moving = (torch.from_numpy(self.tensors[f"{kind}_steps"]) for kind in _KINDS)
        return by_segment(still, moving, latents, segments_per_second) * step_of_quality(quality)

    # ------------------------------------------------------------- networks and files

    @classmethod
    def of_network(cls, network: ContextNetwork, tok: DCSTok) -> "EntropyModel":
        """Round a trained context network to integers."""
        assert tok.fingerprint is not None, "weights that still change have no entropy model"
        tensors: dict[str, Array] = {}
        for name, value in network.state_dict().items():
            array = value.detach().double().numpy()
            if name.startswith("condition."):
                tensors[name] = array.astype(np.float32)  # to go on training from
            elif value.ndim == 1:
                tensors[name] = np.round(array * 2**BIAS_BITS).astype(np.int32)
            else:
                rounded = np.round(array * 2**WEIGHT_BITS)
                tensors[name] = np.clip(rounded, -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
        tensors["initial_state"] = _initial_states(network)
        tensors["tables"] = laplace_tables()
        for kind in _KINDS:
            tensors[f"{kind}_steps"] = unit_steps(tok, still=kind == "still").numpy()
        return cls(tensors, tok.fingerprint)

    def float_state(self) -> dict[str, Tensor]:
        """Return the network's parameters, to train it further."""
        state = {}
        for name, array in self.tensors.items():
            if name.startswith(("levels.", "condition.")):
                value = torch.from_numpy(array.astype(np.float64))
                if not name.startswith("condition."):
                    value = value / 2 ** (BIAS_BITS if value.ndim == 1 else WEIGHT_BITS)
                state[name] = value.float()
        return state

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the file into a model folder; return its path."""
        path = Path(folder) / ENTROPY_FILE
        about = {"kind": _KIND, "format": str(ENTROPY_FORMAT), "tokenizer": self.tokenizer}
        write_atomically(path, to_safetensors(self.tensors, {"about": json.dumps(about)}))
        return path

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "EntropyModel":
        """Read the file of a model folder.

        Raises:
            ValueError: if it is missing, damaged or of a newer format.
        """
        path = Path(folder) / ENTROPY_FILE
        if not path.is_file():
            raise ValueError(
                f"Compression needs the model's {ENTROPY_FILE}, but {folder} does not hold it. "
                "Fit it with `dcs-tok fit-context`, or take dcs-tok-nano."
            )
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})["about"])
                if about["kind"] != _KIND or about["format"] != str(ENTROPY_FORMAT):
                    raise ValueError(f"kind and format {about['kind']!r} {about['format']!r}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(tensors, str(about["tokenizer"]))
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{ENTROPY_FILE} must be a whole file of format {ENTROPY_FORMAT}, but {path} is "
                f"not ({error}). Copy it again, or update dcs-tok."
            ) from None

    @classmethod
    def of(cls, tok: DCSTok) -> "EntropyModel":
        """Return the entropy model that lies beside a tokenizer's weights.

        Raises:
            ValueError: if there is none, or it is for other weights.
        """
        if tok.folder is None:
            raise ValueError(
                "Compression needs a model that was loaded from its folder, where its entropy "
                "model lies, but this one was not. Use `DCSTok.from_pretrained`."
            )
        found = cls.load(tok.folder)
        if found.tokenizer != tok.fingerprint:
            raise ValueError(
                f"The entropy model must be that of the weights ({tok.fingerprint}), but the one "
                f"in {tok.folder} is for {found.tokenizer}. Fit it again with "
                "`dcs-tok fit-context`."
            )
        return found


@torch.no_grad()
def _initial_states(network: ContextNetwork) -> Array:
    qualities, areas = MAX_QUALITY + 1, MAX_AREA_CLASS + 1
    quality = torch.arange(qualities).repeat_interleave(areas)
    state = network.initial_state(quality, torch.arange(areas).repeat(qualities))
    rounded = (state.double() * 2**ACTIVATION_BITS).round().clamp(0, MAX_ACTIVATION)
    return rounded.view(qualities, areas, -1).numpy().astype(np.int16)
