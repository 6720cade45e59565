"""Making a cache of latents: shard by shard, resumable, and divided among jobs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dcs_common.latents import Latents
from dcs_common.protocols import ImageTokenizer
from dcs_common.sharded_folder import check_job, make_sharded_folder
from dcs_common.training.seeds import seeded_generator
from dcs_dit.data.cache_config import CacheConfig
from dcs_dit.data.cache_plan import CACHE_FILE, DTYPES, CachePlan
from dcs_dit.data.cache_shard import CacheShard, to_stored, write_shard
from dcs_dit.data.clip_choice import ClipChoice
from dcs_dit.data.labelled_pictures import PictureSet
from dcs_dit.data.picture_loading import PictureLoader


@dataclass(frozen=True, slots=True)
class CacheResult:
    """What a job did.

    Attributes:
        plan: of the cache.
        written, kept: shards that this job wrote, and that were there before.
        missing: shards that the cache still lacks, the work of other jobs.
        skipped: unreadable files in this job's shards, each with the reason.
    """

    plan: CachePlan
    written: int
    kept: int
    missing: int
    skipped: tuple[str, ...]


class LatentCaching:
    """Makes the shards of one cache.

    Attributes:
        plan: what the cache will hold.
    """

    def __init__(
        self,
        pictures: PictureSet,
        tokenizer: ImageTokenizer,
        config: CacheConfig,
        *,
        name: str,
        model: str | None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Plan the cache.

        Args:
            pictures: to encode.
            tokenizer: that encodes them.
            config: how.
            name, model: the tokenizer as it was given, to find it again.
            device: to encode on.

        Raises:
            ValueError: if Pillow, or PyAV for clips, is missing, the files are of another kind
                than those of the config, or the tokenizer refuses size, rate, patches or levels,
                has no fingerprint or, for clips, no segments that they fill.
        """
        self._pictures, self._config, self._device = pictures.pictures, config, torch.device(device)
        self._loader = PictureLoader(pictures, config)
        self._tokenizer = tokenizer
        if isinstance(tokenizer, torch.nn.Module):
            tokenizer.to(self._device).eval()
        # Tried on one sample: the grid is the tokenizer's to decide, and so are the defaults.
        choice = config.choice
        frames = () if choice is None else (choice.frames,)
        latents = self._encode(torch.zeros(1, 3, *frames, *config.size, dtype=torch.uint8))
        if latents.tokenizer is None:
            raise ValueError(
                f"A tokenizer must have a fingerprint, but {name!r} has none. Save its model and "
                "load it from there."
            )
        self.plan = CachePlan(
            tokenizer=name,
            model=model,
            fingerprint=latents.tokenizer,
            label_names=pictures.label_names,
            size=config.size,
            patches=latents.patches,
            grid=latents.grid,
            levels=latents.num_levels,
            channels=latents.tokens.shape[5],
            dtype=config.dtype,
            samples=config.copies * len(pictures.pictures),
            samples_per_shard=config.samples_per_shard,
            flips=config.flips,
            pictures=pictures.digest,
            seed=config.seed,
            fps=config.fps,
            frames=1 if choice is None else choice.frames,
            clips_per_file=config.clips_per_file,
            segments_per_second=None if choice is None else _segments(tokenizer, choice, name),
        )

    def run(self, folder: str | PathLike[str], *, jobs: int = 1, job: int = 0) -> CacheResult:
        """Write the shards of one job that a folder lacks.

        Args:
            folder: of the cache; made if missing.
            jobs: how many share the work; job ``i`` makes every ``jobs``-th shard from ``i`` on.
            job: this one, from 0.

        Raises:
            ValueError: if the folder holds something else or a damaged shard, too many pictures
                are unreadable, or the latents do not fit into the dtype.
        """
        check_job(jobs, job)
        folder, plan = Path(folder), self.plan
        make_sharded_folder(folder, CACHE_FILE, "a cache")
        plan.write(folder)
        numbers = range(job, plan.num_shards, jobs)
        skipped = self._loader.skipped
        skipped.clear()
        kept = 0
        with _bar(plan, numbers) as bar:
            for number in numbers:
                path = plan.shard_path(folder, number)
                if path.is_file():
                    skipped += CacheShard.open(path, plan, number).skipped
                    kept += 1
                else:
                    self._write_shard(path, number, numbers)
                bar.update(plan.samples_of(number))
        self._loader.close()
        missing = len(plan.missing_shards(folder))
        return CacheResult(plan, len(numbers) - kept, kept, missing, tuple(skipped))

    def _write_shard(self, path: Path, number: int, numbers: Sequence[int]) -> None:
        plan, loader = self.plan, self._loader
        # A tokenizer's random numbers must not depend on the shards before.
        torch.manual_seed(seeded_generator(plan.seed, "cache", number).initial_seed())
        allowed = self._config.max_corrupt * sum(map(plan.samples_of, numbers)) / plan.copies
        first = number * plan.samples_per_shard // plan.copies
        shard = range(first, first + plan.samples_of(number) // plan.copies)
        before = len(loader.skipped)
        taken: list[int] = []
        parts = [torch.empty(0, *plan.grid, plan.levels, plan.channels, dtype=DTYPES[plan.dtype])]
        for part, pixels in loader.batches(shard, allowed):
            taken += part
            parts.append(to_stored(self._encode(pixels).tokens.cpu(), plan.dtype))
        pictures = [self._pictures[index] for index in taken]
        write_shard(
            path,
            plan,
            number,
            tokens=torch.cat(parts),
            labels=[-1 if picture.label is None else picture.label for picture in pictures],
            sample=taken,
            names=[picture.file.name for picture in pictures],
            captions=[picture.caption for picture in pictures],
            skipped=loader.skipped[before:],
        )

    def _encode(self, pixels: Tensor) -> Latents:
        """Encode uint8 pixels (b, 3, H, W) or (b, 3, T, H, W)."""
        config = self._config
        rate = {} if config.fps is None else {"fps": config.fps}  # pictures' need not take one
        with torch.no_grad():
            return self._tokenizer.encode(
                pixels.to(self._device).float() / 255,
                levels=config.levels,
                patches=config.patches,
                **rate,
            )


def _segments(tokenizer: ImageTokenizer, choice: ClipChoice, name: str) -> int:
    """Return k_t of a tokenizer whose segments the clips fill.

    A generator makes whole segments: what it learned from one that is half empty, it would decode
    as a full one.
    """
    k_t: int | None = getattr(tokenizer.config, "segments_per_second", None)
    if k_t is None:
        raise ValueError(
            f"A tokenizer of clips must say its `config.segments_per_second`, but {name!r} does "
            "not. Use another, or cache pictures."
        )
    if choice.frames * k_t % choice.fps:
        fewest = choice.fps // gcd(choice.fps, k_t)
        raise ValueError(
            f"Clips must fill their segments, of which the tokenizer has {k_t} a second, but "
            f"{choice.frames} frames at {choice.fps} per second do not. Take a multiple of "
            f"{fewest} frames: `seconds` of {fewest / choice.fps:.4g} and so on."
        )
    return k_t


def _bar(plan: CachePlan, numbers: Sequence[int]) -> tqdm:
    total = sum(map(plan.samples_of, numbers))
    quiet = not sys.stderr.isatty()
    return tqdm(total=total, desc="caching", unit=" samples", leave=False, disable=quiet)
