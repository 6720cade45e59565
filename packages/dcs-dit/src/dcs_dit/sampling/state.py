"""The state of a coarse-to-fine run: what it takes to go on with the next level later.

It is the trajectory of the finished levels' latents, 0.8 MB for each level and sample of 256
patches and 50 steps, from which keys and values are computed again; they themselves would be a
thousand times as much.
"""

import json
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_dit.sampling.request import SamplingRequest
from dcs_dit.sampling.settings import SamplingSettings
from dcs_dit.text import TextStates

STATE_FORMAT = 1
_KIND = "dcs-generation"


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class GenerationState:
    """A run after some of its levels.

    Attributes:
        request: what was asked for; its ``levels`` are those that the run was to have.
        model: fingerprint of the generator.
        trajectories: of each finished level, (steps + 1, b, t * h * w, c): normalised latents from
            noise to data.
        names: what the samples are called, for whoever writes them to files.
    """

    request: SamplingRequest
    model: str
    trajectories: tuple[Tensor, ...]
    names: tuple[str, ...] = ()

    @property
    def level(self) -> int:
        """How many levels are finished."""
        return len(self.trajectories)

    def with_levels(self, levels: int) -> "GenerationState":
        """Return the state of a run that is to have so many levels."""
        return replace(self, request=replace(self.request, levels=levels))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, which appears under its name when it is complete."""
        request = self.request
        tensors = {
            f"trajectory.{level}": trajectory.detach().cpu().contiguous()
            for level, trajectory in enumerate(self.trajectories, start=1)
        }
        if request.text is not None:
            tensors["text.states"] = request.text.states.detach().cpu().contiguous()
            tensors["text.lengths"] = request.text.lengths.detach().cpu().contiguous()
        about = {
            "model": self.model,
            "grid": list(request.grid),
            "levels": request.levels,
            "seeds": list(request.seeds),
            "labels": None if request.labels is None else list(request.labels),
            "settings": asdict(request.settings),
            "names": list(self.names),
        }
        metadata = {"kind": _KIND, "format": str(STATE_FORMAT), "about": json.dumps(about)}
        write_atomically(path, to_safetensors(tensors, metadata))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "GenerationState":
        """Read a file written by :meth:`save`.

        Raises:
            ValueError: if the file is missing, cut, of another kind or of another format.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"A state file must exist, but {path} does not. Check the path.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("kind") != _KIND:
                    raise ValueError(
                        f"A state file must be of the kind {_KIND!r}, but {path} is not. "
                        "Write it with `GenerationState.save` or `dcs-dit sample --state`."
                    )
                if metadata.get("format") != str(STATE_FORMAT):
                    raise ValueError(
                        f"The format of a state must be {STATE_FORMAT}, but {path} has format "
                        f"{metadata.get('format')!r}. Go on with the release that wrote it."
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"A state file must be a whole safetensors file, but {path} cannot be read "
                f"({error}). It may be cut short; begin again."
            ) from None
        try:
            return cls._from_tensors(tensors, json.loads(metadata["about"]))
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(
                f"A state file must be consistent, but {path} is not ({error}). Begin again."
            ) from None

    @classmethod
    def _from_tensors(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> "GenerationState":
        text = None
        if "text.states" in tensors:
            text = TextStates(tensors.pop("text.states"), tensors.pop("text.lengths"))
        settings = about["settings"] | {
            "guidance_interval": tuple(about["settings"]["guidance_interval"])
        }
        labels = about["labels"]
        t, h, w = (int(x) for x in about["grid"])
        request = SamplingRequest(
            grid=(t, h, w),
            levels=int(about["levels"]),
            seeds=tuple(int(seed) for seed in about["seeds"]),
            labels=None if labels is None else tuple(int(label) for label in labels),
            text=text,
            settings=SamplingSettings(**settings),
        )
        trajectories = tuple(tensors[f"trajectory.{i}"] for i in range(1, len(tensors) + 1))
        expected = (request.settings.steps + 1, request.num_samples, t * h * w)
        for trajectory in trajectories:
            if trajectory.ndim != 4 or tuple(trajectory.shape[:3]) != expected:
                raise ValueError(f"a trajectory of shape {tuple(trajectory.shape)}")
            if not trajectory.is_floating_point() or not torch.isfinite(trajectory).all():
                raise ValueError("a trajectory that is not finite")
        if not 1 <= len(trajectories) <= request.levels:
            raise ValueError(f"{len(trajectories)} of {request.levels} levels")
        names = tuple(str(name) for name in about["names"])
        if len(names) not in (0, request.num_samples):
            raise ValueError(f"{len(names)} names of {request.num_samples} samples")
        return cls(
            request=request, model=str(about["model"]), trajectories=trajectories, names=names
        )
