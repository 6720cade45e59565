"""``dcs-tok compress``, ``decompress`` and ``info`` on ``.dcs`` files."""

import argparse
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dcs_common.atomic_file import check_folder_of, write_atomically
from dcs_common.command_line import parse_size
from dcs_tok import clips, pictures
from dcs_tok.command_arguments import (
    allocation_arguments,
    frames_argument,
    load_model,
    parse_bytes,
)
from dcs_tok.compression.codec import DEFAULT_MODEL, codec_of, decompress, writer_of
from dcs_tok.compression.compress import DEFAULT_QUALITY, compress
from dcs_tok.compression.container import MAGIC, read_file
from dcs_tok.data.sources import PICTURE_ENDINGS

ENDING = ".dcs"
STREAM = "-"
"""Stands for standard input or output."""


def add_parsers(commands: Any, model: argparse.ArgumentParser) -> None:
    """Add ``compress`` and ``decompress``."""
    command = commands.add_parser("compress", parents=[model], help=run_compress.__doc__)
    _files(command, "pictures, clips (need PyAV) or folders of them", "file or folder to write")
    target = command.add_mutually_exclusive_group()
    target.add_argument(
        "--quality", type=int, metavar="Q", help=f"0 to 100 (default: {DEFAULT_QUALITY})"
    )
    target.add_argument("--bytes", type=parse_bytes, metavar="N", help="at most, of each file")
    target.add_argument("--bpp", type=float, metavar="X", help="bits per pixel, at most")
    target.add_argument("--psnr", type=float, metavar="DB", help="smallest file that reaches it")
    command.add_argument("--levels", type=int, metavar="N", help="at most (default: all)")
    allocation_arguments(command)
    command.add_argument(
        "--patches", type=int, metavar="K", help="along the short side (default: what serves best)"
    )
    frames_argument(command)
    command.set_defaults(run=run_compress)

    command = commands.add_parser("decompress", parents=[model], help=run_decompress.__doc__)
    _files(command, ".dcs files or folders of them", "picture, clip or folder to write")
    command.add_argument("--size", type=parse_size, metavar="WxH", help="default: the source's")
    command.add_argument("--fps", metavar="F", help="frame rate (default: the source's)")
    command.add_argument("--levels", type=int, metavar="M", help="use at most so many levels")
    command.add_argument(
        "--format",
        choices=[ending.removeprefix(".") for ending in pictures.WRITABLE],
        default="png",
        help="of pictures written into a folder (default: %(default)s)",
    )
    command.set_defaults(run=run_decompress)


def _files(command: argparse.ArgumentParser, what: str, where: str) -> None:
    command.add_argument("inputs", nargs="+", metavar="IN", help=f"{what}; - for standard input")
    command.add_argument("output", metavar="OUT", help=f"{where}; - for standard output")


# ---------------------------------------------------------------- compress


def run_compress(args: argparse.Namespace) -> str:
    """Pictures or clips to .dcs files."""
    endings = (*PICTURE_ENDINGS, ".tif", ".tiff", ".avif", ".jp2", ".gif", *clips.CLIP_ENDINGS)
    jobs = _jobs(args.inputs, args.output, endings, lambda path: f"{path.stem}{ENDING}")
    tok = load_model(args, DEFAULT_MODEL)
    codec_of(tok)  # a model that cannot compress is refused before anything is read

    def one(source: str, out: str, report: Callable[[str], None]) -> str:
        pixels, fps, notes = _read(source, args.frames)
        for note in notes:
            _say(f"note: {_name(source)}: {note}" if len(jobs) > 1 else f"note: {note}")
        data = compress(
            pixels.to(args.device),
            tok,
            args.levels,
            quality=args.quality,
            bpp=args.bpp,
            max_bytes=args.bytes,
            psnr=args.psnr,
            patches=args.patches,
            fps=fps,
            average_levels=args.average_levels,
            allocation=args.allocation,
            report=report,
        )
        _write(out, data)
        header = read_file(data).header
        count = pixels[:, 0].numel()
        return (
            f"wrote {_name(out)}: {len(data)} bytes, {len(data) * 8 / count:.3f} bits per pixel, "
            f"quality {header.quality}, {header.levels.shape[1]} x {header.levels.shape[2]} "
            f"patches, {header.num_levels} levels"
        )

    return _run_all(jobs, one, "compressing", args.output)


def _read(source: str, frames: tuple[int, int | None]) -> tuple[Tensor, Any, tuple[str, ...]]:
    if source != STREAM and clips.is_clip(source):
        clip = clips.read_clip(source, *frames)
        return clip.pixels, clip.fps, ()
    if frames != (0, None):
        raise ValueError(
            f"`--frames` is for clips, but {_name(source)} is no clip by its ending. Leave it out."
        )
    if source == STREAM:
        picture = pictures.read_picture(io.BytesIO(sys.stdin.buffer.read()), name=_name(source))
    else:
        picture = pictures.read_picture(source)
    return picture.pixels, None, picture.notes


# ---------------------------------------------------------------- decompress


def run_decompress(args: argparse.Namespace) -> str:
    """.dcs files to pictures or clips of any size and rate."""
    jobs = _jobs(args.inputs, args.output, (ENDING,), lambda path: path.stem)
    in_folder = args.output != STREAM and Path(jobs[0][1]).parent == Path(args.output)
    model_of = cache(lambda name: load_model(args, name))

    def one(source: str, out: str, report: Callable[[str], None]) -> str:
        data = _bytes_of(source)
        tok = model_of(None if args.model else writer_of(data))
        fps = read_file(data, 0).header.fps
        if in_folder:
            out += f".{args.format}" if fps is None else ".mp4"
        elif out != STREAM:
            (pictures.check_picture_path if fps is None else clips.check_clip_path)(out)
        elif fps is not None:
            raise ValueError(
                "Standard output takes pictures, but this is a clip. Name a file to write."
            )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pixels = decompress(data, args.size, args.fps, args.levels, tok)[0]
        for warning in caught:
            _say(f"note: {_name(source)}: {warning.message}")
        if fps is None:
            if out == STREAM:
                buffer = io.BytesIO()
                pictures.to_image(pixels).save(buffer, "PNG")
                _write(out, buffer.getvalue())
            else:
                pictures.write_picture(out, pixels)
            return f"wrote {_name(out)}: {pixels.shape[2]}x{pixels.shape[1]}"
        rate = Fraction(args.fps) if args.fps else fps
        clips.write_clip(out, pixels, rate)
        return (
            f"wrote {out}: {pixels.shape[3]}x{pixels.shape[2]}, {pixels.shape[1]} frames at "
            f"{rate} fps"
        )

    return _run_all(jobs, one, "decompressing", args.output)


# ---------------------------------------------------------------- info


def is_file(path: Path) -> bool:
    """Tell by its first bytes whether a file is a .dcs file."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def describe(path: Path) -> str:
    """Describe a .dcs file in a line and its levels in one more each."""
    data = path.read_bytes()
    content = read_file(data)
    header = content.header
    t, h, w = header.levels.shape
    height, width = header.size
    source = f"{width}x{height}"
    if header.fps is not None:
        source += f", {header.frames} frames at {header.fps} fps"
    count = height * width * header.frames
    lines = [
        f"{path}: {source}; {len(data)} bytes, {len(data) * 8 / count:.3f} bits per pixel; "
        f"quality {header.quality}, {t} x {h} x {w} patches, levels {int(header.levels.min())} to "
        f"{header.num_levels} (mean {header.levels.mean():.2f}), entropy model "
        f"{header.entropy_model}{', cut' if content.is_cut else ''}"
    ]
    for first in range(0, len(content.chunks), header.groups):
        chunks = content.chunks[first : first + header.groups]
        size = sum(len(chunk) for chunk in chunks)
        if len(chunks) == header.groups:
            lines.append(f"  level {first // header.groups + 1}: {size} bytes")
    return "\n".join(lines)


# ---------------------------------------------------------------- files


def _jobs(
    inputs: Sequence[str],
    output: str,
    endings: tuple[str, ...],
    name: Callable[[Path], str],
) -> list[tuple[str, str]]:
    """Pair inputs with outputs; refuse what cannot all be written."""
    sources: list[str] = []
    for source in inputs:
        if source != STREAM and Path(source).is_dir():
            found = sorted(p for p in Path(source).iterdir() if p.suffix.lower() in endings)
            if not found:
                raise ValueError(
                    f"A folder must hold files of {', '.join(endings)}, but {source} holds none. "
                    "Name another."
                )
            sources += map(str, found)
        else:
            sources.append(source)
    many = len(sources) > 1 or any(Path(i).is_dir() for i in inputs if i != STREAM)
    into_folder = output != STREAM and (many or Path(output).is_dir())
    if not into_folder:
        if len(sources) > 1:
            raise ValueError(
                f"Standard output takes one file, but {len(sources)} are named. Name a folder."
            )
        if output != STREAM:
            check_folder_of(output)
        return [(sources[0], output)]
    if STREAM in sources:
        raise ValueError(
            "Standard input must go to a file, but the output is a folder. Name a file in it."
        )
    if Path(output).exists() and not Path(output).is_dir():
        raise ValueError(
            f"Several inputs must go into a folder, but {output} is a file. Name another."
        )
    check_folder_of(output)
    jobs = [(source, str(Path(output) / name(Path(source)))) for source in sources]
    seen: dict[str, str] = {}
    for source, out in jobs:
        if out in seen:
            raise ValueError(
                f"Inputs must have names of their own, but {seen[out]} and {source} would both be "
                f"written to {out}. Take them one by one."
            )
        seen[out] = source
    return jobs


def _run_all(
    jobs: list[tuple[str, str]],
    one: Callable[[str, str, Callable[[str], None]], str],
    label: str,
    output: str,
) -> str:
    """Run jobs with progress; what fails stops none of the others."""
    if output != STREAM and Path(jobs[0][1]).parent == Path(output):
        Path(output).mkdir(exist_ok=True)
    if len(jobs) == 1:
        with _progress(1, label) as report:
            said = one(*jobs[0], report)
        if output == STREAM:
            _say(said)
            return ""
        return said
    failures = []
    with _progress(len(jobs), label) as report:
        for source, out in jobs:
            try:
                said = one(source, out, report)
            except (ValueError, OSError) as error:
                failures.append(source)
                _say(f"error: {source}: {error}")
            else:
                tqdm.write(said)
            report("")
    done = len(jobs) - len(failures)
    if failures:
        raise ValueError(
            f"All inputs must be usable, but {len(failures)} of {len(jobs)} were not "
            f"({', '.join(failures[:3])}{', ...' if len(failures) > 3 else ''}). The other {done} "
            f"were written to {output}."
        )
    return f"wrote {done} files to {output}"


@contextmanager
def _progress(total: int, label: str) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line, or counts a file when the line is empty."""
    with tqdm(total=total, desc=label, leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(line: str) -> None:
            if line:
                bar.set_postfix_str(line)
            else:
                bar.update()

        yield report


def _bytes_of(source: str) -> bytes:
    if source == STREAM:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise ValueError(
            f"A .dcs file must exist, but {source} does not. Check the path."
        ) from None
    except IsADirectoryError:
        raise ValueError(f"A .dcs file must be a file, but {source} is a folder.") from None


def _write(out: str, data: bytes) -> None:
    if out == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomically(out, data)


def _name(path: str) -> str:
    return {STREAM: "the standard stream"}.get(path, path)


def _say(text: str) -> None:
    print(f"dcs-tok: {text}", file=sys.stderr)
