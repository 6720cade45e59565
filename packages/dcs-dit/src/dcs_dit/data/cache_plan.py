"""What a cache of latents holds, decided before the first shard: its ``cache.json``."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

import torch

from dcs_common.atomic_file import write_atomically
from dcs_common.config import added, config_to_dict
from dcs_common.sharded_folder import Shards

CACHE_FORMAT = 1
CACHE_FILE = "cache.json"
_KIND = "dcs-latent-cache"
_SPOKEN = {
    "fingerprint": "fingerprint of the tokenizer",
    "pictures": "hash of the files' names, sizes, labels and captions",
}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan(Shards):
    """The content of ``cache.json``, the same for every job that works on a cache.

    Attributes:
        tokenizer: name of the entry point.
        model: as it was given, None for the tokenizer's default. Another spelling of a model
            with the same fingerprint is no other plan.
        fingerprint: of the tokenizer.
        label_names: of the classes.
        size: (height, width) in pixels.
        patches: k, along the short side.
        grid: (t, h, w).
        levels: n.
        channels: c.
        dtype: of the tokens, a key of :data:`DTYPES`.
        samples: pictures or clips and mirrored copies, counting those that turn out unreadable.
        samples_per_shard: a multiple of the copies of each file.
        flips: whether each picture or clip has a mirrored copy.
        pictures: hash of the files' names, sizes, labels and captions.
        seed: of a tokenizer that draws random numbers.
        fps: frames per second of clips; None for pictures.
        frames: of each clip.
        clips_per_file: clips of each video.
        segments_per_second: k_t of the tokenizer, of clips.
    """

    tokenizer: str
    model: str | None
    fingerprint: str
    label_names: tuple[str, ...]
    size: tuple[int, int]
    patches: int
    grid: tuple[int, int, int]
    levels: int
    channels: int
    dtype: str
    samples: int
    samples_per_shard: int
    flips: bool
    pictures: str
    seed: int
    fps: int | None = added(None)
    frames: int = added(1)
    clips_per_file: int = added(1)
    segments_per_second: int | None = added(None)

    @property
    def copies(self) -> int:
        """Samples of each file."""
        return self.clips_per_file * (2 if self.flips else 1)

    @property
    def digest(self) -> str:
        """A hash that names the plan in its shards."""
        content = config_to_dict(self)
        del content["model"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def samples_of(self, shard: int) -> int:
        """Return how many samples a shard has room for."""
        return min(self.samples_per_shard, self.samples - shard * self.samples_per_shard)

    def differences(self, other: "CachePlan") -> list[str]:
        """Name what differs, of the plan on the disk (self) and another that is asked for."""
        pairs = [
            (
                _SPOKEN.get(field.name, field.name),
                getattr(self, field.name),
                getattr(other, field.name),
            )
            for field in fields(self)
            if field.name != "model"
        ]
        return [
            f"{name} {shorten(there)} there and {shorten(here)} here"
            for name, there, here in pairs
            if there != here
        ]

    def write(self, folder: Path) -> None:
        """Write it into a folder, or check that what is there is the same.

        Raises:
            ValueError: if the folder holds another plan.
        """
        path = folder / CACHE_FILE
        if path.exists():
            differences = self.read(folder).differences(self)
            if differences:
                raise ValueError(
                    f"A cache must be continued as it was begun, but {folder} differs: "
                    f"{'; '.join(differences)}. Name another folder, or repeat the command that "
                    "began it."
                )
            return
        content = {"kind": _KIND, "format": CACHE_FORMAT, **config_to_dict(self)}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "CachePlan":
        """Read a folder's plan.

        Raises:
            ValueError: if there is none, or it is damaged, of another kind or of another format.
        """
        path = folder / CACHE_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise ValueError(
                f"A cache of latents must hold {CACHE_FILE}, but {folder} does not. Check the "
                "path, or make a cache with `dcs-dit cache`."
            ) from None
        except ValueError:
            content = None
        if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
            raise ValueError(
                f"{CACHE_FILE} must describe a cache of latents, but {path} does not. Check the "
                "path, or make the cache again."
            )
        number = content.pop("format", None)
        if number != CACHE_FORMAT:
            raise ValueError(
                f"The format of a cache must be {CACHE_FORMAT}, but {path} has {number!r}. "
                "Update dcs-dit, or make the cache again."
            )
        try:
            return cls._from_json(content)
        except (TypeError, LookupError, ValueError) as error:
            raise ValueError(
                f"{CACHE_FILE} must be consistent, but {path} is not ({error}). Make the cache "
                "again."
            ) from None

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> "CachePlan":
        # JSON knows no tuples.
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.items()
        }
        plan = cls(**values)
        counts = (
            *(plan.samples, plan.samples_per_shard, plan.levels, plan.channels, plan.patches),
            *(plan.frames, plan.clips_per_file, plan.fps or 1, plan.segments_per_second or 1),
        )
        if min(*counts, *plan.grid, *plan.size) < 1 or plan.dtype not in DTYPES:
            raise ValueError("a number below 1, or an unknown dtype")
        if len(plan.grid) != 3 or len(plan.size) != 2:
            raise ValueError("a grid or size of another shape")
        return plan
