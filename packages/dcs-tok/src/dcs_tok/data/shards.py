"""Reading WebDataset shards, tar files whose samples come one after the other."""

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO

from dcs_common.command_line import name_first
from dcs_tok.data.sources import Kind, UnreadableSampleError, kind_of, readable


def import_webdataset() -> ModuleType:
    """Return WebDataset.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return import_module("webdataset")
    except ImportError:
        raise ValueError(
            "Shards need WebDataset, but it is not installed. Install it with "
            "`pip install 'dcs-tok[train]'`."
        ) from None


def expand_shards(patterns: Sequence[str]) -> tuple[str, ...]:
    """Expand braces, as in ``train-{000..127}.tar``, to the names of shards.

    Whatever WebDataset opens may be named, such as ``https://`` or ``pipe:`` and a command.

    Raises:
        ValueError: if WebDataset or a local shard is missing.
    """
    expand = import_webdataset().shardlists.expand_urls
    shards = tuple(shard for pattern in patterns for shard in expand(pattern))
    missing = [shard for shard in shards if _is_local(shard) and not Path(shard).is_file()]
    if missing:
        raise ValueError(
            f"Every shard must exist, but {len(missing)} of {len(shards)} do not: "
            f"{name_first(missing)}. Correct the pattern."
        )
    return shards


def _is_local(shard: str) -> bool:
    return not shard.startswith("pipe:") and "://" not in shard


@dataclass(frozen=True, slots=True)
class ShardSample:
    """A picture or clip as it is in the shard."""

    location: str
    content: bytes


class ShardReader:
    """Reads the samples of one kind of a shard by their number, best in ascending order.

    A shard of fewer samples than are asked for begins again. Where a shard is damaged it ends,
    and does not begin again.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._shard = ""
        self._samples: Iterator[ShardSample] = iter(())
        self._held: ShardSample | None = None
        self._index = -1
        self._length: int | None = None
        self._damage: UnreadableSampleError | None = None

    def at(self, shard: str, number: int) -> ShardSample:
        """Return a sample.

        Raises:
            UnreadableSampleError: if the shard holds none, or is damaged before it.
        """
        if shard != self._shard:
            self._length = self._damage = None
            self._open(shard)
        number = self._within(number)
        if number < self._index:
            self._open(shard)
        while self._index < number:
            try:
                sample = next(self._samples, None)
            except UnreadableSampleError as error:
                self._damage, sample = error, None
            if sample is None:
                self._length = self._index + 1
                number = self._within(number)
                self._open(shard)
            else:
                self._held = sample
                self._index += 1
        assert self._held is not None, "a number is at least 0, and the index begins below"
        return self._held

    def _within(self, number: int) -> int:
        if self._length is None or number < self._length:
            return number
        if self._damage is not None:
            raise self._damage
        if self._length == 0:
            raise UnreadableSampleError("shard", self._shard, f"it holds no {self._kind}")
        return number % self._length

    def _open(self, shard: str) -> None:
        self._shard, self._index, self._held = shard, -1, None
        self._samples = _read(shard, self._kind)


def _read(shard: str, kind: Kind) -> Iterator[ShardSample]:
    webdataset = import_webdataset()
    with ExitStack() as stack, readable("shard", shard):
        stream = webdataset.gopen(shard)
        stack.callback(_close, stream)
        files = webdataset.tariterators.tar_file_expander([{"url": shard, "stream": stream}])
        try:
            for sample in webdataset.tariterators.group_by_keys(files):
                key = sample["__key__"]
                for ending, content in sample.items():
                    if kind_of(f"{key}.{ending}") == kind:
                        yield ShardSample(f"{shard}/{key}.{ending}", content)
                        break
        except tarfile.TarError as error:  # WebDataset adds the file to what it says
            raise ValueError(str(error.args[0]).partition(" @ ")[0]) from error


def _close(stream: IO[bytes]) -> None:
    with suppress(OSError):  # of a command that was not read to its end
        stream.close()
