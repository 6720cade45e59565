"""``sampling.json``: how long a generator took for the samples beside it."""

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

SAMPLING_FILE = "sampling.json"
#: The version of that file.
SAMPLING_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingTimes:
    """How a folder of samples was made.

    Attributes:
        samples: how many.
        steps: of the solver, for each level or stage.
        first_preview_seconds: until the first level's latents of the first batch were there.
        seconds: for all samples, without decoding and writing them.
        batch_size: samples at a time; None if the file does not say it.
        device: what it ran on, in words.
        threads: of the CPU; None if the file does not say it.
        precision: of the models; None if the file does not say it.
        guidance_scales: 1 without guidance, several where models differ; None if the file does
            not say it.
    """

    samples: int
    steps: tuple[int, ...]
    first_preview_seconds: float
    seconds: float
    batch_size: int | None
    device: str
    threads: int | None
    precision: str | None
    guidance_scales: tuple[float, ...] | None

    @property
    def guided(self) -> bool:
        """Whether the file says that samples were made with guidance."""
        return any(scale != 1 for scale in self.guidance_scales or ())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what a folder's file says; None if it has none.

        Raises:
            ValueError: if the file is damaged, or of another format.
        """
        path = folder / SAMPLING_FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found = content.get("format")
        except (UnicodeDecodeError, ValueError, AttributeError):
            raise ValueError(
                f"{SAMPLING_FILE} must be a JSON object, but {path} is not. Sample again, or "
                "remove it to leave times out."
            ) from None
        if found != SAMPLING_FORMAT:
            raise ValueError(
                f"The format of {SAMPLING_FILE} must be {SAMPLING_FORMAT}, but {path} has "
                f"{found!r}. Update dcs-eval, or remove the file to leave times out."
            )
        try:
            return cls._from_json(content)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{SAMPLING_FILE} must be consistent, but {path} is not "
                f"({type(error).__name__}: {error}). Sample again, or remove it to leave times out."
            ) from None

    @classmethod
    def _from_json(cls, content: dict[str, Any]) -> Self:
        batch, threads, precision, scales = (
            content.get(key) for key in ("batch_size", "threads", "precision", "guidance_scale")
        )
        if isinstance(scales, int | float):
            scales = [scales]
        made = cls(
            samples=int(content["samples"]),
            steps=tuple(int(count) for count in content["steps"]),
            first_preview_seconds=float(content["first_preview_seconds"]),
            seconds=float(content["seconds"]),
            batch_size=None if batch is None else int(batch),
            device=str(content["device"]),
            threads=None if threads is None else int(threads),
            precision=None if precision is None else str(precision),
            guidance_scales=None if scales is None else tuple(float(scale) for scale in scales),
        )
        if not 0 <= made.first_preview_seconds <= made.seconds or not isfinite(made.seconds):
            raise ValueError(
                f"a first preview after {made.first_preview_seconds:g} of {made.seconds:g} s"
            )
        return made

    @property
    def setting(self) -> str:
        """What the times depend on, in words."""
        parts = [f"{'+'.join(map(str, self.steps))} steps"]
        if self.guidance_scales is not None:
            parts.append(f"guidance scale {'+'.join(f'{x:g}' for x in self.guidance_scales)}")
        if self.batch_size is not None:
            parts.append(f"batches of {self.batch_size}")
        if self.precision is not None:
            parts.append(self.precision)
        parts.append(self.device)
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        return ", ".join(parts)
