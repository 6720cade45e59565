"""Batches of pictures and clips that are files, for any steps of a run and in any division.

What a sample of a step is depends on the run's seed, the step and the sample's place in the
step's batch alone. A run that is continued at a step therefore sees what it would have seen
without a pause, and neither the number of processes that share a step nor that of the workers
makes a difference.
"""

import hashlib
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dcs_common.command_line import name_first
from dcs_common.training import Share, seeded_generator
from dcs_common.training.epoch_order import EpochOrder
from dcs_tok.clips import import_pyav
from dcs_tok.data.batch import TrainingBatch, stack_pairs
from dcs_tok.data.clip_frames import first_frame
from dcs_tok.data.clip_window import clip_pair
from dcs_tok.data.corruption import CorruptionCount
from dcs_tok.data.geometry import BatchGeometry, ScaleConfig, geometry_of_step
from dcs_tok.data.pairs import picture_pair
from dcs_tok.data.sources import (
    ENDINGS,
    Kind,
    SampleFile,
    SampleOpener,
    UnreadableSampleError,
    find_samples,
)

MAX_REPLACEMENTS = 32
"""So many samples in a row may be unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingConfig:
    """How samples are read. Nothing here changes what they are.

    Attributes:
        workers: processes that read ahead; 0 reads in the training process, when asked.
        prefetch: micro-batches that each worker has ready.
        cache_mib: decoded pictures that each process keeps, in MiB, so that a small set is
            decoded once. The first that fit stay: a set read in random order gains nothing from
            giving up one picture for another.
        pin_memory: put batches into page-locked memory, for a GPU.
        max_corrupt: share of unreadable samples above which reading stops.
    """

    workers: int = 0
    prefetch: int = 2
    cache_mib: int = 0
    pin_memory: bool = False
    max_corrupt: float = 0.05

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("prefetch", 1), ("cache_mib", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"`{name}` must be at least {least}, but is {getattr(self, name)}."
                )
        if not 0 <= self.max_corrupt <= 1:
            raise ValueError(f"`max_corrupt` must be in [0, 1], but is {self.max_corrupt}.")


class PictureAndClipSource:
    """Training pairs from folders, zips and single files.

    Sample g of a step is at position ``e * batch_size + g`` of an endless sequence, where e steps
    of the same kind came before, and each epoch of the sequence holds every sample once, in an
    order of its own. Samples that cannot be read are replaced by others, the same ones in every
    run, logged and counted.

    Attributes:
        scales: what is drawn for each step.
        samples: the pictures and clips that were found, as needed by ``scales``.
        fingerprint: a hash of their names, for the run's identity.
    """

    def __init__(
        self,
        sources: Sequence[str | PathLike[str]],
        scales: ScaleConfig,
        *,
        seed: int,
        config: LoadingConfig | None = None,
    ) -> None:
        """Find the samples.

        Raises:
            ValueError: if a source is missing or unreadable, none holds a sample of a kind that
                ``scales`` ask for, or PyAV is missing for clips.
        """
        self.scales = scales
        self.config = config or LoadingConfig()
        kinds = kinds_asked_for(scales)
        found = find_samples(sources)
        self.samples: dict[Kind, tuple[SampleFile, ...]] = {
            kind: tuple(sample for sample in found if sample.kind == kind) for kind in kinds
        }
        first_frames = scales.first_frames and any(sample.kind == "clip" for sample in found)
        if first_frames and "picture" in kinds:
            self.samples["picture"] = found
        for kind, samples in self.samples.items():
            if not samples:
                raise ValueError(
                    f"The sources must hold a {kind}, but {[str(source) for source in sources]} "
                    f"hold none of {', '.join(ENDINGS[kind])}. Name others, or change "
                    "`clip_share`."
                )
        if "clip" in kinds or first_frames:
            import_pyav()
        names = "\n".join(sample.name for kind in kinds for sample in self.samples[kind])
        self.fingerprint = hashlib.sha256(names.encode()).hexdigest()[:16]
        self._dataset = _Shares(self.samples, scales, seed, self.config)

    def batches(self, shares: Iterable[Share]) -> Iterator[TrainingBatch]:
        """Yield one micro-batch for each share, in order.

        Raises:
            ValueError: if too many samples are unreadable.
        """
        count = CorruptionCount(self.config.max_corrupt)
        for loaded in load(self._dataset, shares, self.config):
            count.add(loaded)
            yield loaded


def kinds_asked_for(scales: ScaleConfig) -> tuple[Kind, ...]:
    """Return the kinds of samples that a run meets."""
    if scales.clip_share == 0:
        return ("picture",)
    return ("clip",) if scales.clip_share == 1 else ("picture", "clip")


class PictureCache:
    """Reads pictures and first frames of clips; keeps the first that fit into so many bytes."""

    def __init__(self, opener: SampleOpener, capacity: int) -> None:
        self._opener = opener
        self._free = capacity
        self._kept: dict[SampleFile, Tensor] = {}

    def read(self, sample: SampleFile) -> Tensor:
        """Return a picture as uint8 (3, H, W)."""
        if sample in self._kept:
            return self._kept[sample]
        if sample.kind == "clip":
            picture = first_frame(lambda: self._opener.open(sample), sample.location)
        else:
            picture = self._opener.read_picture(sample)
        if picture.nbytes <= self._free:
            self._free -= picture.nbytes
            self._kept[sample] = picture
        return picture


class _Shares(Dataset[TrainingBatch | ValueError]):
    """Micro-batches by their share.

    What the caller got wrong is returned, not raised: a worker's exception would reach the caller
    as a text around a traceback.
    """

    def __init__(
        self,
        samples: dict[Kind, tuple[SampleFile, ...]],
        scales: ScaleConfig,
        seed: int,
        config: LoadingConfig,
    ) -> None:
        self._samples, self._scales, self._seed = samples, scales, seed
        self._opener = SampleOpener()
        self._pictures = PictureCache(self._opener, config.cache_mib * 2**20)
        self._orders = {
            kind: EpochOrder(len(files), (seed, "order", kind)) for kind, files in samples.items()
        }

    def __getitem__(self, share: Share) -> TrainingBatch | ValueError:
        geometry, before = geometry_of_step(self._scales, self._seed, share.step)
        pairs, names, skipped = [], [], []
        try:
            for place in range(share.start, share.stop):
                position = before * share.batch_size + place
                key = (self._seed, "sample", share.step, place)
                for sample in self._candidates(geometry.kind, position):
                    try:
                        pairs.append(self._pair(sample, geometry, seeded_generator(*key)))
                        names.append(sample.location)
                        break
                    except UnreadableSampleError as error:
                        skipped.append(f"{error.location} ({error.reason})")
                else:
                    raise ValueError(
                        f"Of {MAX_REPLACEMENTS} samples one must be readable, but none is: "
                        f"{name_first(skipped)}. Repair or remove them."
                    )
        except ValueError as error:
            return error
        return stack_pairs(pairs, geometry, names, skipped)

    def _candidates(self, kind: Kind, position: int) -> Iterator[SampleFile]:
        """Yield the sample at a position, and then those that may replace it."""
        order, files = self._orders[kind], self._samples[kind]
        yield files[order[position]]
        for other in order.replacements(position, MAX_REPLACEMENTS - 1):
            yield files[other]

    def _pair(
        self, sample: SampleFile, geometry: BatchGeometry, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if geometry.kind == "picture":
            return picture_pair(self._pictures.read(sample), geometry, self._scales, generator)
        return clip_pair(
            lambda: self._opener.open(sample), sample.location, geometry, self._scales, generator
        )


def load(
    dataset: Dataset[TrainingBatch | ValueError], indices: Iterable[object], config: LoadingConfig
) -> Iterator[TrainingBatch]:
    """Yield a data set's batches in order, read ahead by workers.

    Raises:
        ValueError: as returned by the data set.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=indices,
        num_workers=config.workers,
        prefetch_factor=config.prefetch if config.workers else None,
        pin_memory=config.pin_memory and torch.cuda.is_available(),
        collate_fn=_unchanged,
        # Or it would take its workers' seeds from torch's global generator, which a run restores.
        generator=torch.Generator(),
        worker_init_fn=_outlive_warnings,
    )
    for loaded in loader:
        if isinstance(loaded, ValueError):
            raise loaded
        yield loaded


def _outlive_warnings(_worker: int) -> None:
    """Let the main process end the run: a scheduler warns every process of a job.

    PyTorch's own handler would end the worker, and with it the step that is to be finished first.
    Workers end with their loader, or once their parent is gone.
    """
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _unchanged(batch: object) -> object:
    return batch
