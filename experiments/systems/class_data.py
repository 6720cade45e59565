"""Pictures or clips with classes: those of the command line, or made of photos."""

from pathlib import Path
from typing import Any

from dcs_dit.data.labelled_pictures import find_labelled_pictures
from dcs_dit.data.picture_files import Media
from launching import Context
from sources.photos import bundled_photos
from systems.class_folders import write_class_clips, write_crops

TRAIN, HELD_OUT = "train", "held-out"


def prepare(context: Context, *, counts: dict[str, int], size: int) -> dict[str, Any]:
    """Write crops of photos as classes where the command line names no data; count what there is.

    Args:
        context: of the stage.
        counts: crops of each photo for "train" and for "held-out".
        size: pixels a side.
    """
    if not context.options.data:
        photos = bundled_photos(context.run / "photos").train
        for seed, name in enumerate((TRAIN, HELD_OUT)):
            write_crops([photos], made(context, name), count=counts[name], size=size, seed=seed)
    return _counted(context, "picture")


def prepare_clips(
    context: Context, *, counts: dict[str, int], size: int, seconds: float, fps: int
) -> dict[str, Any]:
    """Write clips panned over photos as classes where the command line names no data.

    Args:
        context: of the stage.
        counts: clips of each photo for "train" and for "held-out".
        size: pixels a side.
        seconds, fps: of each clip.
    """
    if not context.options.data:
        photos = bundled_photos(context.run / "photos").train
        for seed, name in enumerate((TRAIN, HELD_OUT)):
            write_class_clips(
                [photos],
                made(context, name),
                count=counts[name],
                size=(size, size),
                seconds=seconds,
                fps=fps,
                seed=seed,
            )
    return _counted(context, "clip")


def folders(context: Context, name: str) -> tuple[Path, ...]:
    """Return where the data of a name lies, :data:`TRAIN` or :data:`HELD_OUT`.

    Raises:
        ValueError: if only one of both is given, so that the same data might serve both.
    """
    options = context.options
    if bool(options.data) != bool(options.held_out):
        raise ValueError(
            "`--data` and `--held-out` must be given together, but only one is. Name data to train "
            "on and other data to measure on."
        )
    if not options.data:
        return (made(context, name),)
    return tuple(map(Path, options.data if name == TRAIN else pictures_held_out(context)))


def pictures_held_out(context: Context) -> tuple[str, ...]:
    """Return what is held out, but for files of statistics (``.npz``)."""
    return tuple(path for path in context.options.held_out if not path.endswith(".npz"))


def made(context: Context, name: str) -> Path:
    """Return where the classes that are made of photos lie."""
    return context.run / "classes" / name


def _counted(context: Context, media: Media) -> dict[str, Any]:
    found = {}
    for name in (TRAIN, HELD_OUT):
        samples = find_labelled_pictures(
            folders(context, name), context.options.labels, media=media
        )
        found[name] = {"samples": len(samples.pictures), "classes": list(samples.label_names)}
    return found
