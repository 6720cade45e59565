"""The models that an experiment measures: those that ship, or those of the paper's preset."""

from costs.paper_scale import PAPER_TOKENIZER, check_model
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
    check_model(name, "train_tokenizer")
    return DCSTok.from_pretrained(name).to(device)


def load_generator(name: str, device: str) -> DCSDiT:
    """Return a generator that ships, or one that an experiment has trained; errors as above."""
    check_model(name, "train_dit")
    return DCSDiT.from_pretrained(name).to(device)
