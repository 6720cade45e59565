"""What a folder of features holds, decided before the first shard: its ``features.json``."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dcs_common.atomic_file import write_atomically
from dcs_common.sharded_folder import Shards

FEATURES_FORMAT = 2
FEATURES_FILE = "features.json"
_KIND = "dcs-features"
_SPOKEN = {
    "pictures": "digest of the pictures",
    "classes": "logits",
    "size": "features",
    "spatial": "spatial features",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan(Shards):
    """The content of ``features.json``, the same for every job that works on a folder.

    Attributes:
        space: name of the feature space.
        size: features of a picture.
        classes: logits of a picture, None where the space has none.
        spatial: spatial features of a picture, None where the space has none.
        samples: pictures.
        samples_per_shard: pictures in every shard but the last.
        pictures: digest of the pictures.
    """

    space: str
    size: int
    classes: int | None
    spatial: int | None
    samples: int
    samples_per_shard: int
    pictures: str

    @property
    def digest(self) -> str:
        """A hash that names the plan in its shards."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def indices(self, shard: int) -> range:
        """Return the numbers of a shard's pictures."""
        first = shard * self.samples_per_shard
        return range(first, min(first + self.samples_per_shard, self.samples))

    def write(self, folder: Path) -> None:
        """Write it into a folder, or check that what is there is the same.

        Raises:
            ValueError: if the folder holds another plan.
        """
        path = folder / FEATURES_FILE
        if path.exists():
            there = self.read(folder)
            differences = [
                f"{_SPOKEN.get(field.name, field.name)} {getattr(there, field.name)!r} there and "
                f"{getattr(self, field.name)!r} here"
                for field in fields(self)
                if getattr(there, field.name) != getattr(self, field.name)
            ]
            if differences:
                raise ValueError(
                    f"Features must be continued as they were begun, but {folder} differs: "
                    f"{'; '.join(differences)}. Name another folder."
                )
            return
        content = {"kind": _KIND, "format": FEATURES_FORMAT, **asdict(self)}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "FeaturePlan":
        """Read a folder's plan.

        Raises:
            ValueError: if there is none, or it is damaged, of another kind or of another format.
        """
        path = folder / FEATURES_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise ValueError(
                f"A folder of features must hold {FEATURES_FILE}, but {folder} does not. Check "
                "the path, or extract them."
            ) from None
        except ValueError:
            content = None
        if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
            raise ValueError(
                f"{FEATURES_FILE} must describe features, but {path} does not. Check the path, or "
                "extract them again."
            )
        number = content.pop("format", None)
        if number != FEATURES_FORMAT:
            raise ValueError(
                f"The format of features must be {FEATURES_FORMAT}, but {path} has {number!r}. "
                "Update dcs-eval, or extract them again."
            )
        try:
            plan = cls(**content)
            optional = (plan.classes or 1, plan.spatial or 1)
            if min(plan.size, plan.samples, plan.samples_per_shard, *optional) < 1:
                raise ValueError("a number below 1")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{FEATURES_FILE} must be consistent, but {path} is not ({error}). Extract them "
                "again."
            ) from None
        return plan
