"""What DCS-Tok is trained for: Eq. 6 and 7 for one micro-batch.

pixels -> encode -> latents --(Eq. 7: denoising)--> decode -> reconstruction
|                                         |
L2-margin               L_recon, L_percept, adaptive * L_adv
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dcs_common import Latents, psnr, sample_level_map, source_grid
from dcs_common.training import Share, sample_generators, seeded_generator
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.data import TrainingBatch
from dcs_tok.denoising import LatentDenoising
from dcs_tok.discriminator import PatchDiscriminator
from dcs_tok.losses.adversarial import (
    LeCAM,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)
from dcs_tok.losses.kl import kl_loss
from dcs_tok.losses.margin import margin_loss
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.losses.reconstruction import reconstruction_loss
from dcs_tok.posterior import draw_latents, mean_alone
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.rate_term import RateTerm, symbol_bits
from dcs_tok.training.recipe import Recipe

_PICTURES_SHOWN = 4


class Critic(nn.Module):
    """Discriminator and its regulariser's running means: one network for the loop."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.discriminator = PatchDiscriminator(recipe.losses.discriminator)
        self.lecam = LeCAM(weight=recipe.losses.lecam)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits."""
        return self.discriminator(pixels)


class TokenizerTask:
    """A tokenizer, its discriminator if it has one, and their losses.

    Args:
        tok: the tokenizer, on the device of the run.
        recipe: what it is trained for.
        perceptual: the perceptual loss, where the recipe has one.
        validation: pictures (1, 3, H, W) in [0, 1] to measure on during the run.

    Raises:
        ValueError: if the recipe has a perceptual loss and none is given.
    """

    def __init__(
        self,
        tok: DCSTok,
        recipe: Recipe,
        *,
        perceptual: PerceptualLoss | None = None,
        validation: Sequence[Tensor] = (),
    ) -> None:
        if recipe.losses.perceptual and perceptual is None:
            raise ValueError(
                f"The recipe {recipe.name!r} has a perceptual loss of weight "
                f"{recipe.losses.perceptual}, but the task got none. Pass `perceptual`, or set "
                "the weight to 0."
            )
        self.tok, self.recipe = tok, recipe
        self.perceptual, self.validation = perceptual, validation
        self.denoising = LatentDenoising(recipe.losses.denoise_std).train()
        self.networks: dict[str, nn.Module] = {"tokenizer": tok}
        if recipe.losses.adversarial:
            device = next(tok.parameters()).device
            self.networks["discriminator"] = Critic(recipe).to(device)
        if recipe.losses.rate:
            config = tok.config
            context = ContextNetwork(config.num_levels, config.latent_channels)
            self.networks["context"] = context.to(next(tok.parameters()).device)
        if recipe.freezes_encoder:
            for name, parameter in tok.named_parameters():
                parameter.requires_grad_(name not in tok.encoding_half())

    def hidden_matrices(self, network: str) -> Collection[str]:
        """Name the tokenizer's; the discriminator's convolutions are no matrices."""
        return self.tok.hidden_matrices() if network == "tokenizer" else ()

    def blocks(self, network: str) -> Collection[nn.Module]:
        """Return the blocks of the tokenizer's trunks; others are not called as wholes."""
        trunks = (self.tok.encoder, self.tok.decoder) if network == "tokenizer" else ()
        return [block for trunk in trunks if trunk is not None for block in trunk.blocks]

    # ------------------------------------------------------------------ losses

    def losses(
        self, batch: TrainingBatch, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Mapping[str, Tensor | float]]]:
        """Yield the tokenizer's loss, then the discriminator's."""
        losses = self.recipe.losses
        rate = self._rate_term(share)
        reconstruction, latents = self._reconstruct(batch, share, call["tokenizer"], rate)
        terms = {
            "reconstruction": reconstruction_loss(
                reconstruction, batch.target, losses.reconstruction
            )
        }
        total = terms["reconstruction"]
        if rate is not None:
            mean, log_scale = call["context"](rate.symbols, *rate.conditions(latents))
            total, terms["bits"] = rate.cost(
                reconstruction, batch.target, latents, mean, log_scale, losses.rate
            )
        if self.perceptual is not None and losses.perceptual:
            windows = self._generators(share, "perceptual")
            terms["perceptual"] = self.perceptual(reconstruction, batch.target, windows)
            total = total + losses.perceptual * terms["perceptual"]
        plays = bool(losses.adversarial) and share.step >= losses.adversarial_start
        if plays:
            critic = cast(Critic, self.networks["discriminator"])
            critic.requires_grad_(False)
            fooled = hinge_generator_loss(critic(reconstruction))
            weight = adaptive_weight(
                total, fooled, self.tok.last_layer(moving=batch.fps is not None)
            )
            total = total + losses.adversarial * weight * fooled
            terms |= {"adversarial": fooled, "adaptive_weight": weight}
        if losses.kl:
            terms["kl"] = kl_loss(latents.tokens, latents.levels)
            total = total + losses.kl * terms["kl"]
        if losses.margin_weight:
            means = mean_alone(latents, self.tok.config)
            terms["margin"] = margin_loss(means.tokens, means.levels, losses.margin)
            total = total + losses.margin_weight * terms["margin"]
        scalars = {name: term.detach() for name, term in terms.items()}
        yield "tokenizer", total, scalars
        if rate is not None:
            bits = symbol_bits(rate.symbols, mean, log_scale, latents)
            yield "context", bits, {"context_bits": bits.detach()}
        if plays:
            critic.requires_grad_(True)
            yield self._discriminate(critic, call["discriminator"], batch, reconstruction)

    def _reconstruct(
        self, batch: TrainingBatch, share: Share, call: nn.Module, rate: RateTerm | None
    ) -> tuple[Tensor, Latents]:
        reconstruction, latents = call(
            batch.pixels,
            batch.fps,
            self._level_map(batch, share),
            batch.patches,
            size=tuple(batch.target.shape[-2:]),
            target_fps=batch.target_fps,
            disturb=self._disturbance(share, rate),
        )
        # Autocast may leave pixels in bfloat16, too coarse for a loss.
        return reconstruction.to(batch.target.dtype), latents

    def _disturbance(
        self, share: Share, rate: RateTerm | None
    ) -> Callable[[Latents], Tensor] | None:
        """Return what makes of latents the tokens that are decoded; None for themselves."""
        if rate is not None:
            return rate.dequantised
        draws, denoises = self.tok.config.posterior, bool(self.recipe.losses.denoise_std)
        if not (draws or denoises):
            return None

        def disturb(latents: Latents) -> Tensor:
            tokens = latents.tokens
            if draws:
                chance = self._generators(share, "posterior")
                tokens = draw_latents(tokens, latents.levels, chance)
            if denoises:
                noise = self._generators(share, "denoise")
                tokens = self.denoising(tokens, latents.levels, noise)
            return tokens

        return disturb

    def _rate_term(self, share: Share) -> RateTerm | None:
        if not self.recipe.losses.rate:
            return None
        return RateTerm(self.tok, self._generators(share, "rate"))

    def _level_map(self, batch: TrainingBatch, share: Share) -> Tensor:
        """Draw the level maps of the whole step and take the share's: any division is alike."""
        config, levels = self.tok.config, self.recipe.levels
        grid = source_grid(
            (batch.pixels.shape[-2], batch.pixels.shape[-1]),
            1 if batch.fps is None else batch.pixels.shape[2],
            batch.fps,
            patches=batch.patches,
            segments_per_second=config.segments_per_second,
        )
        drawn = sample_level_map(
            (share.batch_size, *grid.shape),
            config.num_levels,
            draw=levels.draw,
            weights=levels.weights,
            uniform_share=levels.uniform_share,
            full_share=levels.full_share,
            generator=seeded_generator(self.recipe.training.seed, "levels", share.step),
        )
        return drawn[share.start : share.stop]

    def _generators(self, share: Share, stream: str) -> Sequence[torch.Generator]:
        return sample_generators(self.recipe.training.seed, share, stream)

    def _discriminate(
        self, critic: Critic, call: nn.Module, batch: TrainingBatch, reconstruction: Tensor
    ) -> tuple[str, Tensor, Mapping[str, Tensor | float]]:
        # One call for both: no layer mixes batch mates, and DDP allows one forward a backward.
        real, fake = call(torch.cat([batch.target, reconstruction.detach()])).chunk(2)
        hinge, lecam = hinge_discriminator_loss(real, fake), critic.lecam(real, fake)
        return "discriminator", hinge + lecam, {"hinge": hinge.detach(), "lecam": lecam.detach()}

    # ------------------------------------------------------------------ measuring

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """Return the mean PSNR in dB of the validation pictures at 1, n / 2 and n levels."""
        tok = cast(DCSTok, model)
        if not self.validation:
            return {}
        found: dict[str, list[float]] = {}
        for pixels in self.validation:
            pixels = pixels.to(next(tok.parameters()))
            latents = tok.encode(pixels)
            for m in _some_counts(tok.config.num_levels):
                found.setdefault(f"psnr_{m}", []).append(
                    psnr(tok.decode(latents, levels=m), pixels)
                )
        return {name: sum(values) / len(values) for name, values in found.items()}

    def images(self, batch: TrainingBatch, model: nn.Module) -> Mapping[str, Tensor]:
        """Return the first targets above their reconstructions, a row for each level count."""
        tok = cast(DCSTok, model)
        latents = tok.encode(batch.pixels[:_PICTURES_SHOWN], batch.fps, patches=batch.patches)
        target = batch.target[:_PICTURES_SHOWN]
        size = (target.shape[-2], target.shape[-1])
        rows = [target]
        for m in _some_counts(tok.config.num_levels):
            rows.append(tok.decode(latents, size, batch.target_fps, m))
        if target.ndim == 5:  # the last frame of a clip
            rows = [row[:, :, -1] for row in rows]
        return {"reconstruction": torch.cat(rows, dim=2)}


def _some_counts(num_levels: int) -> tuple[int, ...]:
    return tuple(sorted({1, max(1, num_levels // 2), num_levels}))
