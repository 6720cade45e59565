"""What ships in the wheel: a small file that loads and gives latents like those it learned from."""

import torch

from dcs_dit import DCSDiT, sample, sample_progressive
from dcs_dit.model import WEIGHTS


def test_it_is_small_and_the_default() -> None:
    assert list(DCSDiT.bundled) == ["dcs-dit-nano"]
    folder = WEIGHTS / "dcs-dit-nano"
    assert (folder / "model.safetensors").stat().st_size <= 16 * 2**20
    dit = DCSDiT.from_pretrained()
    assert dit.folder == folder
    assert len(dit.config.labels) == 10
    assert dit.config.trained_levels in (None, dit.config.num_levels)
    assert dit.config.has_unconditional


def test_samples_are_like_what_it_learned_from() -> None:
    """In normalised units, over classes: mean near 0 and deviation near 1 at every level."""
    dit = DCSDiT.from_pretrained()
    labels = list(range(10))
    latents = sample(dit, labels=labels, seeds=labels, steps=10, guidance_scale=1.0)
    normal = dit.normalise(latents.tokens).movedim(-2, 0).flatten(1)
    assert normal.mean(dim=1).abs().max() < 0.25
    assert ((normal.std(dim=1) > 0.7) & (normal.std(dim=1) < 1.3)).all()


def test_samples_depend_on_seed_and_label() -> None:
    """Two seeds of a class differ, and so do two classes at one seed."""
    dit = DCSDiT.from_pretrained()
    labels = ["church", "church", "tench"]
    *_, last = sample_progressive(dit, labels=labels, seeds=[1, 2, 1], levels=2, steps=10)
    first, other_seed, other_class = last.latents.tokens
    assert not torch.allclose(first, other_seed, atol=1.0)
    assert not torch.allclose(first, other_class, atol=1.0)
