"""Files written by released versions stay readable, value for value."""

from fractions import Fraction
from pathlib import Path

import torch

from dcs_common import LATENT_FORMAT, Latents

GOLDEN = Path(__file__).parent / "golden"


def expected() -> Latents:
    """The latents in ``latents_format_1.safetensors``: token (.., n, c) holds its own number."""
    levels = torch.tensor([[[[1, 2, 3], [3, 1, 2]], [[2, 2, 2], [1, 3, 1]]]])
    tokens = torch.arange(1 * 2 * 2 * 3 * 3 * 2, dtype=torch.float32).view(1, 2, 2, 3, 3, 2) / 8
    is_active = torch.arange(3) < levels.unsqueeze(-1)
    return Latents(
        tokens=tokens * is_active.unsqueeze(-1),
        levels=levels,
        size=(37, 53),
        fps=Fraction(30000, 1001),
        frames=7,
        phase=Fraction(1, 5),
        tokenizer="0123456789abcdef",
    )


def test_latent_format_1_reads_as_it_was_written() -> None:
    assert LATENT_FORMAT == 1
    found, wanted = Latents.load(GOLDEN / "latents_format_1.safetensors"), expected()
    assert torch.equal(found.tokens, wanted.tokens)
    assert torch.equal(found.levels, wanted.levels)
    about = ("size", "fps", "frames", "phase", "tokenizer")
    assert [getattr(found, name) for name in about] == [getattr(wanted, name) for name in about]


def test_latent_format_1_is_still_written_byte_for_byte(tmp_path: Path) -> None:
    """A change of what is written needs a new format number, even if it reads back."""
    expected().save(tmp_path / "new.safetensors")
    golden = (GOLDEN / "latents_format_1.safetensors").read_bytes()
    assert (tmp_path / "new.safetensors").read_bytes() == golden
