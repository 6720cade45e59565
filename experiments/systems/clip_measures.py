"""How near generated clips come to real ones: their frames, their classes, and how much moves."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from dcs_eval import PictureSet, evaluate_generation
from dcs_eval.clip_files import ClipFiles
from dcs_eval.labelled_files import LabelledFiles, find_labelled, find_levels
from dcs_eval.protocols.clip_rule import ClipRule
from launching import Context
from systems.class_data import HELD_OUT, TRAIN, folders
from systems.pooled_colours import feature_space
from systems.sample_measures import MOST_ROWS
from systems.sheets import sheet

FRAMES, FPS = 16, 24
RULE = ClipRule(frames=FRAMES, fps=Fraction(FPS))
LOOKED_AT = (0, 5, 10, 15)
"""Frames of a clip whose features are compared."""


def measure_clip_samples(context: Context, *, names: Sequence[str]) -> dict[str, Any]:
    """Return the distance of frames, the share that a probe recognises, and the motion.

    Motion is the mean absolute difference of neighbouring frames, in grey levels of 255.

    Args:
        context: of the stage.
        names: of samples, in ``samples/NAME``.
    """
    options = context.options
    table = None if options.labels is None else Path(options.labels)
    space = feature_space(options.feature_weights, context.device)
    real = {
        name: find_labelled(list(folders(context, name)), table, media="clip")
        for name in (TRAIN, HELD_OUT)
    }
    found: dict[str, Any] = {"space": f"{space.name} of frames", "samples": {}}
    for name in names:
        levels = find_levels(context.run / "samples" / name, "clip")
        report = evaluate_generation(
            {level: frames_of(files) for level, files in levels.items()},
            frames_of(real[HELD_OUT]),
            features=space,
            train=frames_of(real[TRAIN]),
        )
        assert report.real is not None, "there are training clips"
        found["samples"][name] = {
            str(row.level): {
                "frechet": row.frechet,
                "recognised": None if row.probe is None else row.probe.mean,
                "motion": motion(levels[row.level]),
            }
            for row in report.rows
        }
        probe = report.real.probe
        found["count"] = report.samples // len(LOOKED_AT)
        found["reference"] = report.reference // len(LOOKED_AT)
        found["real"] = {
            "frechet": report.real.frechet_drawn,
            "recognised": None if probe is None else probe.mean,
            "motion": motion(real[HELD_OUT]),
        }
    return found


def frames_of(files: LabelledFiles) -> PictureSet:
    """Return some frames of clips as pictures, each with its clip's class."""
    labels = files.labels

    def frames() -> Iterator[Tensor]:
        for clip in ClipFiles(files, RULE):
            yield clip[0][:, list(LOOKED_AT)].transpose(0, 1)

    repeated = None
    if labels is not None:
        repeated = [label for label in labels for _ in LOOKED_AT]
    return PictureSet(pictures=frames(), labels=repeated)


def motion(files: LabelledFiles) -> float:
    """Return the mean absolute difference of neighbouring frames, in grey levels of 255."""
    return fmean(255 * float(clip.diff(dim=2).abs().mean()) for clip in ClipFiles(files, RULE))


def clip_sheet(folder: Path, level: int) -> Tensor:
    """Return a row of frames for each class, of its first clip: (3, height, width)."""
    rows = []
    for place in sorted((folder / f"level-{level}").iterdir())[:MOST_ROWS]:
        clip = ClipFiles(find_labelled([place], media="clip"), RULE)[0][0]
        rows.append([clip[:, t] for t in LOOKED_AT])
    return sheet(rows)
