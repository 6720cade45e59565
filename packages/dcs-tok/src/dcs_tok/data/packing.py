"""One zip of reduced pictures and clips, to train from again and again.

Pictures become WebP and clips H.264, both with their short side reduced to what training needs and
never enlarged. The zip stores them as they are, for they are compressed already, and is the same
byte for byte whenever it is made from the same files with the same libraries.
"""

import argparse
import csv
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import check_folder_of, whole_file
from dcs_common.command_line import name_first
from dcs_common.training import seeded_generator
from dcs_tok.clips import import_pyav
from dcs_tok.data.clip_frames import ClipFrames, open_clip
from dcs_tok.data.sources import SampleFile, SampleOpener, UnreadableSampleError, find_samples

INDEX = "index.csv"
COLUMNS = ("name", "source", "width", "height")
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_ENTRY_OVERHEAD = 76
"""Bytes of a zip per entry, beside its content and twice its name."""
_END_OVERHEAD = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class PackConfig:
    """How samples are reduced.

    Attributes:
        short_side: pixels; smaller pictures stay as they are.
        quality: of WebP, 1 to 100.
        crf: of H.264, 0 to 51, lower is better.
        limit: most bytes of the zip. What goes in is then drawn, or a set that is sorted by class
            would lose its last classes.
    """

    short_side: int = 256
    quality: int = 90
    crf: int = 18
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("quality", 1, 100), ("crf", 0, 51)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"`{name}` must be between {least} and {most}, but is {getattr(self, name)}."
                )
        for name in ("short_side", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {value}.")


@dataclass(frozen=True, slots=True)
class PackResult:
    """What a zip came to hold.

    Attributes:
        pictures, clips: how many went in.
        left_out: how many did not fit.
        skipped: what could not be read, each with the reason.
    """

    pictures: int
    clips: int
    left_out: int
    skipped: tuple[str, ...]


def pack(
    sources: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    config: PackConfig | None = None,
) -> PackResult:
    """Write pictures and clips, reduced, into one zip, which appears when it is whole.

    Its ``index.csv`` gives each member's name, the name it had below its source, and the size in
    pixels that it had there.

    Raises:
        ValueError: if a source is missing or unreadable, none holds a readable sample, PyAV is
            missing for clips, or the output cannot be written or is no zip by its ending.
    """
    config = config or PackConfig()
    output = check_folder_of(output)
    if output.suffix.lower() != ".zip":
        raise ValueError(f"The output's name must end in .zip, but is {output.name!r}.")
    samples = list(find_samples(sources))
    if any(sample.kind == "clip" for sample in samples):
        import_pyav()
    if config.limit is not None:
        order = torch.randperm(len(samples), generator=seeded_generator("pack"))
        samples = [samples[i] for i in order.tolist()]
    with whole_file(output) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        result = _fill(archive, samples, config)
        if not result.pictures + result.clips:
            reason = f" ({name_first(result.skipped)})" if result.skipped else ""
            raise ValueError(
                "The sources must hold a readable picture or clip that fits, but "
                f"{[str(source) for source in sources]} hold none{reason}. Name others."
            )
    return result


def _fill(archive: ZipFile, samples: Sequence[SampleFile], config: PackConfig) -> PackResult:
    opener = SampleOpener()
    index = io.StringIO(newline="")
    rows = csv.writer(index, lineterminator="\n")
    rows.writerow(COLUMNS)
    skipped: list[str] = []
    packed = {"picture": 0, "clip": 0}
    room = float("inf") if config.limit is None else config.limit
    room -= _END_OVERHEAD + _ENTRY_OVERHEAD + 2 * len(INDEX) + len(index.getvalue())
    bar = tqdm(samples, desc="packing", leave=False, disable=not sys.stderr.isatty())
    for number, sample in enumerate(bar):
        name = f"{number:06d}" + (".webp" if sample.kind == "picture" else ".mp4")
        reduce = _reduced_picture if sample.kind == "picture" else _reduced_clip
        try:
            content, (height, width) = reduce(opener, sample, config)
        except UnreadableSampleError as error:
            skipped.append(f"{error.location} ({error.reason})")
            continue
        before = index.tell()
        rows.writerow((name, sample.name, width, height))
        room -= _ENTRY_OVERHEAD + 2 * len(name) + len(content)
        room -= len(index.getvalue()[before:].encode())
        if room < 0:
            index.truncate(before)
            break
        _write(archive, name, content)
        packed[sample.kind or "picture"] += 1
    _write(archive, INDEX, index.getvalue().encode())
    left_out = len(samples) - sum(packed.values()) - len(skipped)
    return PackResult(packed["picture"], packed["clip"], left_out, tuple(skipped))


def _write(archive: ZipFile, name: str, content: bytes) -> None:
    entry = ZipInfo(name, _EARLIEST)
    entry.create_system = 3  # Unix, wherever it is made
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def reduced_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (height, width) reduced to a short side, never enlarged; rounded half up."""
    height, width = size
    short = min(size)
    if short <= short_side:
        return size
    return (
        (2 * height * short_side + short) // (2 * short),
        (2 * width * short_side + short) // (2 * short),
    )


def _reduced(pixels: Tensor, size: tuple[int, int]) -> Image.Image:
    """Reduce uint8 (3, H, W) by Lanczos."""
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _reduced_picture(
    opener: SampleOpener, sample: SampleFile, config: PackConfig
) -> tuple[bytes, tuple[int, int]]:
    picture = opener.read_picture(sample)
    size = (picture.shape[-2], picture.shape[-1])
    buffer = io.BytesIO()
    image = _reduced(picture, reduced_size(size, config.short_side))
    image.save(buffer, "WEBP", quality=config.quality, method=6)
    return buffer.getvalue(), size


def _reduced_clip(
    opener: SampleOpener, sample: SampleFile, config: PackConfig
) -> tuple[bytes, tuple[int, int]]:
    with (
        open_clip(lambda: opener.open(sample), sample.location) as clip,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder, "clip.mp4")
        size = _encode(path, clip, config)
        return path.read_bytes(), size


def _encode(path: Path, clip: ClipFrames, config: PackConfig) -> tuple[int, int]:
    """Write a clip frame by frame; return the size that its frames had."""
    av = import_pyav()
    source_size = (0, 0)
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as file:
        stream = None
        for frame in _frames(clip):
            if stream is None:
                source_size = (frame.shape[-2], frame.shape[-1])
                size = reduced_size(source_size, config.short_side)
                stream = file.add_stream("libx264", rate=clip.rate)
                # A keyframe every second, so that little is decoded for a window. One thread, for
                # their number stands in the file. No macroblock tree: with it about one run in a
                # hundred gives other bytes.
                stream.options = {
                    "crf": str(config.crf),
                    "g": str(max(1, round(clip.rate))),
                    "threads": "1",
                    "mbtree": "0",
                }
                stream.height, stream.width = size
                stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
            array = np.asarray(_reduced(frame, size))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        if stream is not None:
            file.mux(stream.encode())
    return source_size


def _frames(clip: ClipFrames) -> Iterator[Tensor]:
    for _, frame in clip.at(range(clip.frames)):
        yield frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command ``dcs-tok pack``."""
    defaults = PackConfig()
    parser.add_argument(
        "sources", type=Path, nargs="+", help="folders, zips, pictures or clips (need PyAV)"
    )
    parser.add_argument("--output", type=Path, required=True, help="zip to write")
    parser.add_argument(
        "--short-side",
        type=int,
        default=defaults.short_side,
        metavar="PIXELS",
        help="reduce larger samples to it (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        default=defaults.quality,
        help="of the pictures' WebP, 1 to 100 (default: %(default)s)",
    )
    parser.add_argument(
        "--crf",
        type=int,
        default=defaults.crf,
        help="of the clips' H.264, 0 to 51, lower is better (default: %(default)s)",
    )
    parser.add_argument(
        "--limit-mib",
        type=float,
        metavar="N",
        help="stop before the zip exceeds it; what goes in is then drawn (default: no limit)",
    )


def run(arguments: argparse.Namespace) -> str:
    """Pictures and clips, reduced, to one zip for training."""
    limit = arguments.limit_mib
    if limit is not None and not 0 < limit < float("inf"):
        raise ValueError(f"`--limit-mib` must be a positive number, but is {limit}.")
    config = PackConfig(
        short_side=arguments.short_side,
        quality=arguments.quality,
        crf=arguments.crf,
        limit=None if limit is None else int(limit * 2**20),
    )
    result = pack(arguments.sources, arguments.output, config)
    for name in result.skipped:
        print(f"dcs-tok: note: left out {name}", file=sys.stderr)
    size = arguments.output.stat().st_size
    beyond = f", {result.left_out} more did not fit" if result.left_out else ""
    return (
        f"wrote {arguments.output}: {result.pictures} pictures and {result.clips} clips, "
        f"{size} bytes{beyond}"
    )
