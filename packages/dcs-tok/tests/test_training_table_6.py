"""Table 6 in small: noise makes latents grow, the margin holds them."""

from dataclasses import replace

import pytest
import torch

from dcs_common.training import Share
from dcs_tok.training import LossWeights, TokenizerTask
from dcs_tok.training.latent_statistics import measure_latents

from .tiny_models import CONFIGS, fresh, random_pixels
from .training_runs import batch, recipe


def _deviation_after(steps: int, losses: LossWeights) -> float:
    """Train a small model; return the deviation of its latents."""
    tok = fresh(CONFIGS["paper"](), seed=2).train()
    task = TokenizerTask(tok, recipe("paper", losses))
    pixels = random_pixels(4, 3, 3, 3, dtype=torch.float32)
    pixels = pixels.repeat_interleave(5, dim=2).repeat_interleave(5, dim=3)
    samples = replace(batch(4), pixels=pixels, target=pixels)
    optimizer = torch.optim.AdamW(tok.parameters(), lr=5e-3, betas=(0.9, 0.95))
    for step in range(steps):
        for _, loss, _ in task.losses(samples, Share(step, 0, 4, 4), task.networks):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return float(tok.eval().encode(pixels).tokens.std())


@pytest.mark.slow
def test_noise_makes_latents_grow_and_the_margin_holds_them() -> None:
    noisy = LossWeights(denoise_std=3.0)
    start = _deviation_after(0, noisy)
    plain = _deviation_after(50, LossWeights())
    alone = _deviation_after(50, noisy)
    held = _deviation_after(50, replace(noisy, margin_weight=0.1, margin=1.0))
    assert alone > 2 * plain
    assert alone > 3 * start
    assert held < alone / 2
    assert held > start / 2


def test_all_levels_of_all_patches_are_measured() -> None:
    tok = fresh(CONFIGS["paper"](), seed=1).double().eval()
    batches = [batch(3), batch(2)]
    found = measure_latents(tok, batches)
    tokens = torch.cat([tok.encode(b.pixels, patches=3).tokens.flatten(0, 3) for b in batches])
    torch.testing.assert_close(found.mean, tokens.mean(dim=0))
    torch.testing.assert_close(found.std, tokens.std(dim=0, correction=0))
    assert found.tokens.tolist() == [len(tokens)] * tokens.shape[1]
