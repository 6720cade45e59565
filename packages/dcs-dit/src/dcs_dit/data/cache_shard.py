"""One shard of a cache: latents with labels, and what else is known, in a safetensors file.

tokens (N, t, h, w, n, c)    in the cache's dtype
labels (N,) int64            -1 without one
sample (N,) int64            number of the picture among all; a mirrored copy has the same
metadata["about"]            JSON: names, captions, moments, what was skipped, whose shard it is
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from dcs_common.atomic_file import write_atomically
from dcs_dit.data.cache_plan import DTYPES, CachePlan
from dcs_dit.data.latent_moments import LatentMoments


def to_stored(tokens: Tensor, dtype: str) -> Tensor:
    """Cast tokens to a cache's dtype.

    Raises:
        ValueError: if they are not finite, or not any more when cast.
    """
    if not tokens.isfinite().all():
        raise ValueError(
            "Latents must be finite, but the tokenizer gave some that are not. Use another model "
            "or device."
        )
    stored = tokens.to(DTYPES[dtype])
    if not stored.isfinite().all():
        raise ValueError(
            f"Latents must fit into {dtype}, but reach {float(tokens.abs().max()):g}. "
            "Use bfloat16 or float32."
        )
    return stored


def write_shard(
    path: Path,
    plan: CachePlan,
    number: int,
    tokens: Tensor,
    labels: Sequence[int],
    sample: Sequence[int],
    names: Sequence[str],
    captions: Sequence[str | None],
    skipped: Sequence[str],
) -> None:
    """Write a shard, which appears when it is whole.

    Args:
        path: to write.
        plan: of the cache.
        number: of the shard.
        tokens: (N, t, h, w, n, c), from :func:`to_stored`.
        labels, sample, names, captions: of the N samples.
        skipped: unreadable pictures, each with the reason.
    """
    tensors = {
        "tokens": tokens.contiguous(),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "sample": torch.tensor(sample, dtype=torch.int64),
    }
    about = {
        "plan": plan.digest,
        "tokenizer": plan.fingerprint,
        "shard": number,
        "names": list(names),
        "captions": list(captions) if any(captions) else None,
        "moments": LatentMoments.of(tokens).to_json(),
        "skipped": list(skipped),
    }
    # One entry of metadata, for the library writes several in an order that changes.
    write_atomically(path, to_safetensors(tensors, {"about": json.dumps(about)}))


@dataclass(slots=True)
class CacheShard:
    """A shard that has been checked; its tokens stay on the disk.

    Attributes:
        path: of the file.
        labels, sample: (N,) int64.
        names: of the pictures, N.
        captions: N, or None if no picture has one.
        moments: of the tokens.
        skipped: unreadable pictures.
    """

    path: Path
    labels: Tensor
    sample: Tensor
    names: tuple[str, ...]
    captions: tuple[str | None, ...] | None
    moments: LatentMoments
    skipped: tuple[str, ...]
    _tokens: Any = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def tokens(self, index: int) -> Tensor:
        """Return one sample's tokens (t, h, w, n, c) as stored, read from the mapped file."""
        if self._tokens is None:
            # The slice keeps the mapping, which needs no open file.
            self._tokens = safe_open(self.path, framework="pt").get_slice("tokens")
        return self._tokens[index]

    @classmethod
    def open(cls, path: Path, plan: CachePlan, number: int) -> "CacheShard":
        """Read all but the tokens, and check that the shard is whole and this cache's.

        Raises:
            ValueError: if it is cut, of another tokenizer, another plan or another place, or not
                consistent.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("about", "null"))
                part = file.get_slice("tokens")
                shape, kind = tuple(part.get_shape()), part.get_dtype()
                labels, sample = file.get_tensor("labels"), file.get_tensor("sample")
            return cls._checked(path, plan, number, about, shape, kind, labels, sample)
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"A shard must be a whole safetensors file, but {path} is not ({error}). Delete it "
                "and run `dcs-dit cache` again."
            ) from None
        except (TypeError, LookupError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"A shard must be consistent, but {path} is not ({error}). Delete it and run "
                "`dcs-dit cache` again."
            ) from None

    @classmethod
    def _checked(
        cls,
        path: Path,
        plan: CachePlan,
        number: int,
        about: dict[str, Any],
        shape: tuple[int, ...],
        kind: str,
        labels: Tensor,
        sample: Tensor,
    ) -> "CacheShard":
        if about["tokenizer"] != plan.fingerprint:
            raise ValueError(
                f"A cache must come from one tokenizer, {plan.fingerprint}, but {path} comes from "
                f"{about['tokenizer']}. Delete it and run `dcs-dit cache` again."
            )
        if (about["plan"], about["shard"]) != (plan.digest, number):
            raise ValueError(
                f"A shard must belong to its cache, but {path} is shard {about['shard']} of "
                f"{about['plan']} and not {number} of {plan.digest}. Delete it and run "
                "`dcs-dit cache` again."
            )
        count = plan.samples_of(number) - plan.copies * len(about["skipped"])
        expected = (count, *plan.grid, plan.levels, plan.channels)
        names, captions = about["names"], about["captions"]
        lengths = {len(labels), len(sample), len(names), len(captions or names)}
        if shape != expected or lengths != {count} or kind != _STORED[plan.dtype]:
            raise TypeError(f"{kind} of shape {shape} and not {plan.dtype} of shape {expected}")
        return cls(
            path,
            labels,
            sample,
            tuple(names),
            None if captions is None else tuple(captions),
            LatentMoments.from_json(about["moments"]),
            tuple(about["skipped"]),
        )


_STORED = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
