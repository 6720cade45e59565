"""The samples of ``dcs-dit sample``: one seed and one place each, whatever else is asked."""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dcs_dit.model import DCSDiT
from dcs_dit.sampling.checks import check_labels
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.state import GenerationState


@dataclass(frozen=True, slots=True)
class Item:
    """One sample to come: its condition, where it goes, its seed."""

    condition: int | str | None
    name: str
    seed: int


def items_of(args: argparse.Namespace, dit: DCSDiT) -> list[Item]:
    """Return what a command asks for, with the seed of each.

    Raises:
        ValueError: if a label is unknown, or two conditions would write to one folder.
    """
    names = dit.config.labels
    conditions: list[tuple[int | str | None, str]]
    if args.label and args.text:
        raise ValueError("Give `--label` or `--text`, but not both: they would have to be paired.")
    if args.text:
        conditions = [(text, _file_name(text)) for text in args.text]
    elif args.label:
        wanted: list[int | str] = [_label(label, names) for label in args.label]
        if names and [label.casefold() for label in args.label] == ["all"]:
            wanted = list(range(len(names)))
        found = check_labels(wanted, dit.config) or ()
        conditions = [(index, _file_name(names[index])) for index in found]
    else:
        conditions = [(None, "unconditional")]
    folders = Counter(name for _, name in conditions)
    twice = [name for name, times in folders.items() if times > 1]
    if twice:
        raise ValueError(
            f"Samples of different conditions must go to different folders, but {twice[0]!r} is "
            "that of several. Name each label or text once, and use `--count`; or run twice."
        )
    return [
        Item(condition, f"{name}/{args.first + i:05d}", seed)
        for condition, name in conditions
        for i, seed in enumerate(
            sample_seeds(sample_seeds(args.seed, 1, _number(condition))[0], args.count, args.first)
        )
    ]


def _label(text: str, names: Sequence[str]) -> int | str:
    """Return a label's number if it is one; a class may be named by digits, too."""
    return int(text) if text.isdecimal() and text not in names else text


def _number(condition: int | str | None) -> int:
    """Return a number that gives each class a series of its own; texts share one."""
    return condition if isinstance(condition, int) else 0


def items_of_state(state: GenerationState) -> list[Item]:
    """Return those of a run that goes on."""
    request = state.request
    names = state.names or tuple(f"sample/{i:05d}" for i in range(request.num_samples))
    labels = request.labels or (None,) * request.num_samples
    return [Item(*item) for item in zip(labels, names, request.seeds, strict=True)]


def _file_name(text: str) -> str:
    return re.sub(r"[^\w .-]", "_", text)[:60].strip(" .") or "sample"
