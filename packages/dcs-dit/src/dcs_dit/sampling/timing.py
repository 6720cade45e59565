"""How long sampling took, beside what was sampled: ``sampling.json`` of a folder of samples.

Comparisons of generators read it, so that times stand beside the quality that they bought. The
clock runs while the generator works, and not while pictures are decoded and written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch

from dcs_common.atomic_file import write_atomically

SAMPLING_FORMAT = 1
SAMPLING_FILE = "sampling.json"
Stage = TypeVar("Stage")


@dataclass
class SamplingTimes:
    """A clock over the batches of a run.

    Attributes:
        device: that works; it is waited for before the clock is read.
        seconds: of all stages of all batches so far.
        first_preview_seconds: until the first batch's first latents were there.
        first_batch_seconds: until the first batch was done.
    """

    device: torch.device
    seconds: float = 0.0
    first_preview_seconds: float | None = None
    first_batch_seconds: float | None = field(default=None, init=False)

    def over(self, stages: Iterator[Stage]) -> Iterator[Stage]:
        """Yield a batch's stages, counting the time that each takes to come."""
        while True:
            start = perf_counter()
            stage = next(stages, None)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.seconds += perf_counter() - start
            if stage is None:
                break
            if self.first_preview_seconds is None:
                self.first_preview_seconds = self.seconds
            yield stage
        if self.first_batch_seconds is None:
            self.first_batch_seconds = self.seconds


def write_record(
    folder: Path,
    times: SamplingTimes,
    *,
    samples: int,
    steps: Sequence[int],
    batch_size: int,
    precision: str,
    models: Mapping[str, str | None],
    guidance_scale: float | Sequence[float],
    seed: int | None,
) -> None:
    """Write ``sampling.json``.

    Args:
        folder: of the samples.
        times: that they took.
        samples: how many.
        steps: of each stage or level that was sampled one after another.
        batch_size: samples at a time.
        precision: of the models.
        models: name to fingerprint.
        guidance_scale: of the model, or of each where they differ.
        seed: of the series; None where a state went on.
    """
    content = {
        "format": SAMPLING_FORMAT,
        "samples": samples,
        "steps": list(steps),
        "first_preview_seconds": times.first_preview_seconds,
        "first_batch_seconds": times.first_batch_seconds,
        "seconds": times.seconds,
        "batch_size": batch_size,
        "device": str(times.device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "models": dict(models),
        "guidance_scale": guidance_scale,
        "seed": seed,
    }
    write_atomically(folder / SAMPLING_FILE, (json.dumps(content, indent=1) + "\n").encode())
