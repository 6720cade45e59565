"""The models that an experiment measures: those that ship, or those of the paper's preset."""

from pathlib import Path

from costs.paper_scale import PAPER_TOKENIZER
from dcs_dit import DCSDiT
from dcs_tok import DCSTok

TOKENIZER, GENERATION_TOKENIZER = "dcs-tok-nano", "dcs-tok-nano-gen"
GENERATOR = "dcs-dit-nano"


def tokenizer_for(preset: str) -> str:
    """Return the name or folder of the tokenizer that a preset measures."""
    return TOKENIZER if preset == "tiny" else PAPER_TOKENIZER


def load_tokenizer(name: str, device: str) -> DCSTok:
    """Return a tokenizer that ships, or one that an experiment has trained.

    Raises:
        ValueError: if the experiment that trains it has not been run here.
    """
    if name not in DCSTok.bundled:
        _check(name, "tokenizer", "train_tokenizer")
    return DCSTok.from_pretrained(name).to(device)


def load_generator(name: str, device: str) -> DCSDiT:
    """Return a generator that ships, or one that an experiment has trained; errors as above."""
    if name not in DCSDiT.bundled:
        _check(name, "generator", "train_dit")
    return DCSDiT.from_pretrained(name).to(device)


def _check(folder: str, what: str, experiment: str) -> None:
    if not Path(folder).is_dir():
        raise ValueError(
            f"The {what} must have been trained, but {folder} is not there. Make it with "
            f"`python experiments/{experiment}.py --preset paper`, and start this experiment in "
            "the same folder."
        )
