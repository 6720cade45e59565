"""What DCS-DiT is trained for: the velocity of noised latents, for one micro-batch.

latents -> form -> normalise -> m levels a sample -> noised at time t -> model -> velocity
                                                            data - noise --- loss --/
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from dcs_common.levels import sample_level_map
from dcs_common.training import Share, sample_generators, seeded_generator
from dcs_dit.data.halving import doubled, halved
from dcs_dit.data.latent_form import latent_form
from dcs_dit.data.source import LatentBatch
from dcs_dit.model import DCSDiT
from dcs_dit.text import TextEncoder, TextStates
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.rectified_flow import (
    flow_errors,
    logit_normal_times,
    mean_over_active,
    path,
)


@dataclass(frozen=True, eq=False, slots=True)
class NoisedBatch:
    """What the model sees, and what it should say."""

    noised: Tensor
    target: Tensor
    time: Tensor
    levels: Tensor
    labels: Tensor | None
    text: TextStates | None
    clean: Tensor | None = None


class GeneratorTask:
    """A generator and its loss.

    Args:
        dit: the model, on the device of the run, with the latents' statistics.
        recipe: what it is trained for.
        text_encoder: encodes captions, where the model takes text.
        held_out: latents to measure the loss on during the run.
    """

    def __init__(
        self,
        dit: DCSDiT,
        recipe: Recipe,
        *,
        text_encoder: TextEncoder | None = None,
        held_out: LatentBatch | None = None,
    ) -> None:
        self.dit, self.recipe = dit, recipe
        self.text_encoder, self.held_out = text_encoder, held_out
        self.networks: dict[str, nn.Module] = {"generator": dit}

    def hidden_matrices(self, network: str) -> Collection[str]:
        """Name the generator's."""
        return self.dit.hidden_matrices()

    def blocks(self, network: str) -> Collection[nn.Module]:
        """Return the parts that may be divided among processes one by one, inner ones first.

        Modulation and the keys of texts are computed ahead of their blocks.
        """
        parts: list[nn.Module] = []
        for block in self.dit.blocks:
            parts.append(block.modulation)
            if block.text_attention is not None:
                parts.append(block.text_attention.key_value)
            parts.append(block)
        return parts

    # ------------------------------------------------------------------ loss

    def losses(
        self, batch: LatentBatch, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Mapping[str, Tensor | float]]]:
        """Yield the generator's loss."""
        drawn = self.draw(batch, share)
        velocity = call["generator"](
            drawn.noised, drawn.time, drawn.levels, drawn.labels, drawn.text, drawn.clean
        )
        errors = flow_errors(velocity, drawn.target)
        levels = drawn.levels.to(velocity.device)
        squared = mean_over_active(errors.squared, levels)
        direction = mean_over_active(errors.direction, levels)
        total = squared + self.recipe.direction_weight * direction
        yield "generator", total, {"squared": squared.detach(), "direction": direction.detach()}

    def draw(self, batch: LatentBatch, share: Share) -> NoisedBatch:
        """Draw codes, noise, times, levels and dropout: the same in any division of the step."""
        recipe, config = self.recipe, self.dit.config
        n = recipe.levels or config.num_levels
        levels = sample_level_map(
            (share.batch_size, 1, 1, 1),
            n,
            draw="sample",
            weights=recipe.level_weights,
            generator=seeded_generator(recipe.training.seed, "levels", share.step),
        ).flatten()[share.start : share.stop]
        formed = latent_form(config.latent_form).form(
            batch.tokens[..., :n, :],
            config.latent_channels,
            sample_generators(recipe.training.seed, share, "form"),
        )
        tokens = self.dit.normalise(formed.tokens)
        generators = sample_generators(recipe.training.seed, share, "flow")
        time = torch.cat([logit_normal_times(1, g) for g in generators]).to(tokens)
        noise = torch.stack([torch.randn(tokens.shape[1:], generator=g) for g in generators])
        dropped = torch.stack([torch.rand(2, generator=g) for g in generators])
        noised, target = path(tokens, noise.to(tokens), time)
        labels = None
        if config.labels:
            none = torch.full_like(batch.labels, len(config.labels))
            lost = (dropped[:, 0] < recipe.label_dropout).to(none.device) | (batch.labels < 0)
            labels = torch.where(lost, none, batch.labels)
        text = self._text(batch, dropped[:, 1] < recipe.text_dropout)
        clean = None if formed.condition is None else self._clean(formed.condition, share)
        return NoisedBatch(noised, target, time, levels, labels, text, clean)

    def _clean(self, condition: Tensor, share: Share) -> Tensor:
        """Normalise a base, and give it noise as a generated one has: alike in 2 x 2 patches."""
        clean = self.dit.normalise_condition(condition)
        most = self.recipe.condition_noise
        if not most:
            return clean
        generators = sample_generators(self.recipe.training.seed, share, "condition")
        shape = halved(clean[:1]).shape[1:]
        noise = [
            most * torch.rand((), generator=g) * torch.randn(shape, generator=g) for g in generators
        ]
        return clean + doubled(torch.stack(noise)).to(clean)

    def _text(self, batch: LatentBatch, lost: Tensor) -> TextStates | None:
        if self.text_encoder is None or batch.captions is None:
            return None
        text = self.text_encoder.encode(batch.captions)
        lengths = torch.where(lost.to(text.lengths.device), 0, text.lengths)
        return TextStates(text.states.to(batch.tokens), lengths.to(batch.tokens.device))

    # ------------------------------------------------------------------ measuring

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """Return the loss of each level on held-out latents, at noise and times of their own."""
        if self.held_out is None:
            return {}
        batch = self.held_out.to(next(model.parameters()).device)
        dit, count = cast(DCSDiT, model), len(batch.tokens)
        n = self.recipe.levels or dit.config.num_levels
        drawn = self.draw(batch, Share(-1, 0, count, count))
        every = torch.full((count,), n)
        text = drawn.text
        velocity = dit(drawn.noised, drawn.time, every, drawn.labels, text, drawn.clean)
        errors = flow_errors(velocity, drawn.target)
        squared = errors.squared.flatten(0, 3).mean(dim=0).tolist()
        return {f"squared_level_{i}": value for i, value in enumerate(squared, start=1)}

    def images(self, batch: Any, model: nn.Module) -> Mapping[str, Tensor]:
        """Return nothing: a generator alone has no pictures."""
        return {}
