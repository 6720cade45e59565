"""Pictures of one grey each with captions, as a command line names them."""

import csv
from pathlib import Path

import torch

from dcs_tok.pictures import write_picture
from launching import Options

CAPTIONS = ("an owl at night", "a bee")


def pictures_of(folder: Path, captions: dict[str, str]) -> tuple[Path, Path]:
    """Write pictures of one grey each, and their table; the class is empty."""
    (folder / "pictures").mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "class", "caption"])
        for number, (name, caption) in enumerate(captions.items()):
            grey = torch.full((3, 20, 32), number / len(captions))
            write_picture(folder / "pictures" / name, grey)
            writer.writerow([name, "", caption])
    return folder / "pictures", folder / "table.csv"


def captioned_options(folder: Path, captions: dict[str, str]) -> Options:
    pictures, table = pictures_of(folder, captions)
    return Options(
        data=(str(pictures), str(pictures)), held_out=(str(pictures),), labels=str(table)
    )
