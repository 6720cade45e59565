"""Pictures with captions: those of the command line, or crops of photos with captions of ours."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from costs.paper_scale import check_model
from dcs_common.atomic_file import whole_file
from dcs_dit.data import PictureSet, find_labelled_pictures
from dcs_dit.data.labelled_pictures import LabelledPicture
from dcs_dit.transformers_text import TransformersTextEncoder
from dcs_eval.pictures import spread
from launching import Context
from systems.class_data import HELD_OUT, TRAIN, folders, made, prepare
from systems.generator_stages import encoder_of
from systems.photo_captions import TRAINED, UNSEEN, caption
from systems.small_text_encoder import write_text_encoder

ENCODER = "text-encoder"
"""The folder in the run's that holds the small form's encoder."""
FROM_DATA = "held-out"
"""What the wording is called where captions come with the data."""


def prepare_captions(context: Context, *, counts: dict[str, int], size: int) -> dict[str, Any]:
    """Write crops of photos with captions where there is no data, and a small text encoder.

    Args:
        context: of the stage.
        counts: crops of each photo for "train" and for "held-out".
        size: pixels a side.
    """
    texts = []
    if not context.options.data:
        prepare(context, counts=counts, size=size)
        _write_table(context)
        texts = [text for captions in UNSEEN.values() for text in captions]
    found = {name: captioned(context, name) for name in (TRAIN, HELD_OUT)}
    texts += [str(picture.caption) for some in found.values() for picture in some.pictures]
    words = write_text_encoder(context.run / ENCODER, texts)
    return {"words": words} | {name: len(some.pictures) for name, some in found.items()}


def check_captions(
    context: Context, *, tokenizer: str, text_encoder: str, width: int
) -> dict[str, int]:
    """Stop before hours of encoding where the tokenizer, a caption or the text encoder is missing.

    The encoder comes from the hub once, so that the processes of the training find it.

    Args:
        context: of the stage.
        tokenizer: whose latents are learned.
        text_encoder: a hub id or folder.
        width: of its states, as the plan has it.
    """
    check_model(tokenizer, "train_tokenizer")
    found = {name: len(captioned(context, name).pictures) for name in (TRAIN, HELD_OUT)}
    encoder = TransformersTextEncoder(encoder_of(context, text_encoder))
    if encoder.width != width:
        raise ValueError(
            f"The text encoder's states must have the width {width}, but those of {text_encoder} "
            f"have {encoder.width}. Correct TEXT_WIDTH beside TEXT_ENCODER."
        )
    return found


def captioned(context: Context, name: str, source: int | None = None) -> PictureSet:
    """Return pictures with captions and without classes, which would say what captions say.

    Args:
        context: of the stage.
        name: "train" or "held-out".
        source: number of the path to take alone, of those of the command line.

    Raises:
        ValueError: if a picture has no caption.
    """
    places = folders(context, name)
    table = table_of(context)
    found = find_labelled_pictures(places if source is None else places[source : source + 1], table)
    bare = [picture.file.location for picture in found.pictures if not picture.caption]
    if bare:
        raise ValueError(
            f"Every picture must have a caption, but {len(bare)} of {len(found.pictures)} have "
            f"none, {bare[0]} first. Fill the column `caption` of {table}."
        )
    return replace(found, pictures=tuple(map(_without_class, found.pictures)), label_names=())


def table_of(context: Context) -> Path:
    """Return the table of captions.

    Raises:
        ValueError: if there is data without one.
    """
    options = context.options
    if options.labels is not None:
        return Path(options.labels)
    if options.data:
        raise ValueError(
            "Pictures must have captions, but `--labels` is missing. Name a table with the columns "
            "name, class (which may be empty) and caption."
        )
    return context.run / "captions.csv"


def pictures_of_prompts(context: Context, count: int) -> list[LabelledPicture]:
    """Return held-out pictures whose captions are drawn by, evenly spread over all."""
    return spread(captioned(context, HELD_OUT).pictures, count)


def prompts(context: Context, wording: str, count: int) -> list[tuple[str, str]]:
    """Return names of samples, CLASS/NUMBER or NUMBER, each with the caption that it is drawn by.

    Args:
        context: of the stage.
        wording: of :data:`systems.photo_captions.WORDINGS`, or :data:`FROM_DATA`.
        count: of each photo, or of all where captions come with the data.
    """
    if wording == FROM_DATA:
        chosen = pictures_of_prompts(context, count)
        return [(f"{i:05d}", str(picture.caption)) for i, picture in enumerate(chosen)]
    return [
        (f"{photo}/{number:05d}", caption(wording, photo, number))
        for photo in TRAINED
        for number in range(count)
    ]


def _write_table(context: Context) -> None:
    """Write the captions of all crops; those of one name, trained on and held out, share one."""
    names = {
        path.name: (path.parent.name, int(path.stem.rpartition("-")[2]))
        for part in (TRAIN, HELD_OUT)
        for path in made(context, part).rglob("*.png")
    }
    with (
        whole_file(table_of(context)) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["name", "class", "caption"])
        for name, (photo, number) in sorted(names.items()):
            writer.writerow([name, photo, caption("trained", photo, number)])


def _without_class(picture: LabelledPicture) -> LabelledPicture:
    return replace(picture, label=None)
