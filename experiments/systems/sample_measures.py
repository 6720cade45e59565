"""How near samples come to real pictures, and which of their classes are recognised."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dcs_eval import PictureSet, evaluate_generation
from dcs_eval.labelled_files import LabelledFiles, find_labelled, find_levels
from dcs_tok.pictures import read_picture
from launching import Context
from systems.class_data import HELD_OUT, TRAIN, folders
from systems.pooled_colours import feature_space
from systems.sheets import sheet

SHOWN, MOST_ROWS = 8, 20


def measure_samples(
    context: Context, *, names: Sequence[str], probe: bool = True
) -> dict[str, Any]:
    """Return the Fréchet distance of samples of every level to held-out pictures.

    Beside it, where there are classes: the share of samples that a probe, trained on the training
    pictures, takes for the class that they were asked for; and the same of real pictures.

    Args:
        context: of the stage.
        names: of samples, in ``samples/NAME``.
        probe: read the training pictures too, for the probe and the distance that they have.
    """
    options = context.options
    # Classes serve the probe alone; a table of captions may have none.
    table = Path(options.labels) if probe and options.labels else None
    space = feature_space(options.feature_weights, context.device)
    reference = find_labelled(list(folders(context, HELD_OUT)), table)
    train = None
    if probe:
        train = find_labelled(list(folders(context, TRAIN)), table, what="the training set")
    found: dict[str, Any] = {"space": space.name, "samples": {}}
    for name in names:
        levels = find_levels(context.run / "samples" / name)
        report = evaluate_generation(
            {level: _set(files) for level, files in levels.items()},
            _set(reference),
            features=space,
            train=None if train is None else _set(train),
        )
        found["count"], found["reference"] = report.samples, report.reference
        found["samples"][name] = {
            str(row.level): {
                "frechet": row.frechet,
                "recognised": None if row.probe is None else row.probe.mean,
            }
            for row in report.rows
        }
        if report.real is not None:
            found["real"] = {
                "frechet": report.real.frechet_drawn,
                "recognised": None if report.real.probe is None else report.real.probe.mean,
            }
    return found


def _set(files: LabelledFiles) -> PictureSet:
    return PictureSet(pictures=files, labels=files.labels)


def sample_sheet(folder: Path, level: int, count: int = SHOWN) -> Tensor:
    """Return a row of pictures for each class: (3, height, width).

    Args:
        folder: of ``level-M/CLASS/*.png``.
        level: which.
        count: pictures of a class, or as many as every class has.
    """
    classes = [sorted(place.glob("*.png")) for place in _places(folder, level)]
    count = min(count, *map(len, classes))
    return sheet([[read_picture(path).pixels[0] for path in row[:count]] for row in classes])


def _places(folder: Path, level: int) -> list[Path]:
    return sorted((folder / f"level-{level}").iterdir())[:MOST_ROWS]
