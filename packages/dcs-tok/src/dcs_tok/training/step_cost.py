"""What a training step computes and holds, found out without computing it.

The step's own code runs forward and backward on *fake* tensors (torch's ``FakeTensorMode``: shapes
and types, no values) under a meter that sees every operation. To do that in seconds for any size,
three parts are measured apart:

    all but the trunks' blocks    on two small grids; a line over the number of patches
    a block of each trunk         at full size, one sample and two; a line over samples
    losses and discriminator      at full size, one sample and two; a line over samples

Not counted: the way from the pixels back to the last layer, which the adaptive weight of Eq. 6
goes twice more. Nearly nothing where pixels are tokens, a resampling where they are canonical.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import torch
from torch import Tensor, nn

from dcs_common import level_probabilities, sample_level_map, source_grid
from dcs_common.latents import Latents
from dcs_common.token_layout import TokenLayout
from dcs_common.training import Share
from dcs_common.training.cost import Cost, CostLine, fake_mode, measured_pass, with_gradients
from dcs_common.training.meter import Meter
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.config import DCSTokConfig, TrunkConfig
from dcs_tok.data import TrainingBatch
from dcs_tok.data.geometry import BatchGeometry
from dcs_tok.losses.perceptual import PerceptualLoss
from dcs_tok.patch_work import DEFAULT_MAX_MEMORY, plan_work
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.cost import StepCost
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.task import Critic, TokenizerTask
from dcs_tok.trunk import Trunk

SMALL_GRIDS = (2, 4)
"""Patches along the short side of the small grids."""
# A canonical decoder network takes a pass for each level count: all of them must occur.
_CANONICAL_GRIDS = (6, 9)


class UnweightedPerceptualLoss(PerceptualLoss):
    """The perceptual loss with no weights to load: for its cost."""

    def __init__(self, network: nn.Module, max_size: int | None) -> None:
        nn.Module.__init__(self)
        self._frozen = (network.requires_grad_(False).eval(),)
        self.smallest_side, self.max_size = 1, max_size

    def weights(self) -> list[Tensor]:
        """Return what the network holds."""
        (network,) = self._frozen
        return [*network.parameters(), *network.buffers()]


def step_cost(
    recipe: Recipe,
    geometry: BatchGeometry,
    *,
    checkpoint_activations: bool = False,
    perceptual: Callable[[], nn.Module] | None = None,
    on_cpu: bool = True,
    max_memory: int = DEFAULT_MAX_MEMORY,
) -> StepCost:
    """Find what a micro-batch of a recipe costs.

    Args:
        recipe: what is trained.
        geometry: scales of the batch.
        checkpoint_activations: as of :class:`~dcs_tok.DCSTok`.
        perceptual: builds the perceptual loss's network; None leaves the loss out.
        on_cpu: whether the run is on a CPU, where patches are worked through in smaller pieces.
        max_memory: of :class:`~dcs_tok.DCSTok`.
    """
    return _Measurement(
        recipe, geometry, checkpoint_activations, perceptual, on_cpu, max_memory
    ).step()


def mean_levels(recipe: Recipe) -> float:
    """Return the levels that a patch keeps on average."""
    counts = torch.arange(1, recipe.model.num_levels + 1, dtype=torch.float64)
    drawn = float(level_probabilities(len(counts), recipe.levels.weights) @ counts)
    full = recipe.levels.full_share
    return (1 - full) * drawn + full * len(counts)


def grid_shape(recipe: Recipe, geometry: BatchGeometry) -> tuple[int, int, int]:
    """Return (segments, rows, columns) of a geometry."""
    return source_grid(
        geometry.size,
        geometry.frames,
        geometry.fps,
        patches=geometry.patches,
        segments_per_second=recipe.model.segments_per_second,
    ).shape


@dataclass(frozen=True, slots=True)
class _Measurement:
    recipe: Recipe
    geometry: BatchGeometry
    recompute: bool
    perceptual: Callable[[], nn.Module] | None
    on_cpu: bool
    max_memory: int

    def step(self) -> StepCost:
        """Measure the three parts."""
        geometry, model = self.geometry, self.recipe.model
        segments, rows, columns = grid_shape(self.recipe, geometry)
        patches = segments * rows * columns
        grids = SMALL_GRIDS if model.patchifier is not None else _CANONICAL_GRIDS
        small, large = (self._outside(k) for k in grids)
        trunks = []
        learns = not self.recipe.freezes_encoder
        for config, trains in ((model.encoder, learns), (model.decoder, True)):
            if config is not None:
                points = [(b, self._block(config, trains, b)) for b in (1, 2)]
                trunks.append((config.blocks, CostLine.through(points)))
        values = geometry.frames * geometry.size[0] * geometry.size[1]
        if not geometry.is_symmetric:
            values += geometry.target_frames * geometry.target_size[0] * geometry.target_size[1]
        patch_bytes, at_once = 0.0, 0
        if model.patchifier is not None:
            # The transient is that of a piece of patches, which has a size of its own.
            at_once = self._patches_at_once()
            patch_bytes = large[1].transient / self._largest_piece(grids[1])
            small, large = ((x, replace(cost, transient=0.0)) for x, cost in (small, large))
        return StepCost(
            patches,
            patches * mean_levels(self.recipe),
            CostLine.through([small, large]),
            tuple(trunks),
            CostLine.through([(b, self._losses(b)) for b in (1, 2)]),
            3 * 4 * values,
            patch_bytes,
            rows * columns * self._share_alike(),
            at_once,
        )

    def _share_alike(self) -> float:
        """Return the share of a segment's patches that have the commonest level count."""
        if self.recipe.levels.draw == "sample":
            return 1.0
        n, weights = self.recipe.model.num_levels, self.recipe.levels.weights
        return float(level_probabilities(n, weights).max())

    def _patches_at_once(self) -> int:
        """Return how many patches go through the patch networks at once in the run."""
        model, geometry = self.recipe.model, self.geometry
        tokens = pixels = max(
            ceil(Fraction(frames) / segments) * ceil(size[0] / rows) * ceil(size[1] / columns)
            for size, frames in (
                (geometry.size, geometry.frames),
                (geometry.target_size, geometry.target_frames),
            )
            for segments, rows, columns in [grid_shape(self.recipe, geometry)]
        )
        if model.pixel_tokens == "canonical" and model.canonical is not None:
            cells = model.canonical.grid // model.canonical.cell
            tokens = cells**2 * (1 if geometry.fps is None else model.canonical.frames)
        networks = (model.patchifier, model.depatchifier)
        return plan_work(
            tokens + model.num_levels,
            max((network.width for network in networks if network is not None), default=1),
            3 * pixels,
            4,
            self.max_memory,
            on_cpu=self.on_cpu,
        ).patches_at_once

    def _autocast(self) -> torch.autocast:
        is_bfloat16 = self.recipe.training.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16)

    def _level_map(self, shape: tuple[int, int, int, int], *, is_uniform: bool = False) -> Tensor:
        """Return a level map with about as many tokens as the recipe's draw has on average."""
        levels, n = self.recipe.levels, self.recipe.model.num_levels
        if levels.draw == "sample" or is_uniform:
            return torch.full(shape, floor(mean_levels(self.recipe) + 0.5))
        generator = torch.Generator().manual_seed(0)
        return sample_level_map(
            shape,
            n,
            draw=levels.draw,
            weights=levels.weights,
            full_share=levels.full_share,
            generator=generator,
        )

    def _outside(self, small: int) -> tuple[int, Cost]:
        """Measure the tokenizer without trunk blocks on a grid of ``small`` rows."""
        geometry = self._shrunk(small)
        with fake_mode():
            tok = DCSTok(_without_blocks(self.recipe.model))
        if self.recipe.freezes_encoder:
            for name, parameter in tok.named_parameters():
                parameter.requires_grad_(name not in tok.encoding_half())
        tok.checkpoint_activations = self.recompute
        # All patches of a shape at once: their work is the same in any pieces, and is found in one.
        tok.max_memory = tok.patches_at_once = sys.maxsize
        frames = () if geometry.fps is None else (geometry.frames,)
        pixels = torch.zeros(1, 3, *frames, *geometry.size)  # real: their values are looked at
        # Level counts matter little to patch networks, and a few patches would not show their mean.
        shape = (1, *grid_shape(self.recipe, geometry))
        levels = self._level_map(shape, is_uniform=tok.patchifier is not None)

        def forward() -> Tensor:
            rebuilt, _ = tok(
                pixels,
                geometry.fps,
                levels,
                small,
                size=geometry.target_size,
                target_fps=geometry.target_fps,
            )
            return rebuilt

        precision = self.recipe.training.precision
        return levels.numel(), measured_pass(forward, tok, [pixels], precision)

    def _largest_piece(self, small: int) -> int:
        """Return how many patches of a small grid are worked through together at most."""
        geometry = self._shrunk(small)
        return max(
            len(group.rows) * len(group.columns)
            for side in (
                (geometry.size, geometry.frames, geometry.fps),
                (geometry.target_size, geometry.target_frames, geometry.target_fps),
            )
            for group in source_grid(
                *side, patches=small, segments_per_second=self.recipe.model.segments_per_second
            ).groups
        )

    def _shrunk(self, small: int) -> BatchGeometry:
        """Return the geometry on a small grid with about as many pixels a patch."""

        def shrunk(size: tuple[int, int]) -> tuple[int, int]:
            height, width = (
                max(small, round(small * side / self.geometry.patches)) for side in size
            )
            return height, width

        return replace(
            self.geometry,
            patches=small,
            size=shrunk(self.geometry.size),
            target_size=shrunk(self.geometry.target_size),
        )

    def _block(self, config: TrunkConfig, learns: bool, samples: int) -> Cost:
        """Measure a trunk block: what a trunk of two costs beyond a trunk of one."""
        shape = (samples, *grid_shape(self.recipe, self.geometry))
        n = self.recipe.model.num_levels
        layout = TokenLayout.of(self._level_map(shape), n)
        costs = []
        for depth in (1, 2):
            with fake_mode():
                trunk = Trunk(
                    replace(config, blocks=depth), self.recipe.model.trunk_rope, 16, 16, n
                ).requires_grad_(learns)
                tokens = torch.zeros(layout.num_tokens, 16, requires_grad=learns)
            trunk.recompute = self.recompute

            def forward(trunk: Trunk = trunk, tokens: Tensor = tokens) -> Tensor:
                return trunk(tokens, layout)

            costs.append(measured_pass(forward, trunk, [tokens], self.recipe.training.precision))
        one, two = costs
        return replace(two - one, transient=two.transient)

    def _losses(self, samples: int) -> Cost:
        """Measure what comes after the tokenizer, by the task itself."""
        geometry = self.geometry
        frames = () if geometry.fps is None else (geometry.target_frames,)
        shape = (samples, 3, *frames, *geometry.target_size)
        with fake_mode():
            task = self._task()
            target = torch.zeros(shape)
            rebuilt = torch.zeros(shape, requires_grad=True)
            tokens = torch.zeros(samples, *self._latents_looked_at(), requires_grad=True)
        known = [target, rebuilt, tokens]
        for network in task.networks.values():
            known += with_gradients(network)
        if isinstance(task.perceptual, UnweightedPerceptualLoss):
            known += task.perceptual.weights()
        stand_in = _StandIn(task.tok, rebuilt, tokens, geometry)
        batch = TrainingBatch(
            pixels=target,
            target=target,
            fps=geometry.fps,
            target_fps=geometry.target_fps,
            patches=1,
            names=("",) * samples,
        )
        call = {**task.networks, "tokenizer": stand_in}
        start = self.recipe.losses.adversarial_start
        meter = Meter(known)
        with meter:
            found = task.losses(batch, Share(start, 0, samples, samples), call)
            while True:
                with self._autocast():
                    term = next(found, None)
                if term is None:
                    break
                term[1].backward()
                del term
        # The stand-in's pixels are counted where the tokenizer's are.
        return Cost(meter.flops, 0, meter.peak - rebuilt.nbytes)

    def _latents_looked_at(self) -> tuple[int, ...]:
        """Return (t, h, w, n, d) where the losses look into the latents."""
        model = self.recipe.model
        if not self.recipe.losses.rate:
            return 1, 1, 1, 1, 2 if model.posterior else 1
        grid = grid_shape(self.recipe, self.geometry)
        return (*grid, model.num_levels, model.latent_channels)

    def _task(self) -> TokenizerTask:
        """Make the task on fake tensors, with no more of the tokenizer than its last layer."""
        losses = self.recipe.losses
        bare = replace(
            self.recipe, losses=replace(losses, perceptual=0.0, adversarial=0.0, rate=0.0)
        )
        task = TokenizerTask(DCSTok(_without_blocks(self.recipe.model)), bare)
        if losses.adversarial:
            task.networks["discriminator"] = Critic(self.recipe)
        if losses.rate:
            config = self.recipe.model
            task.networks["context"] = ContextNetwork(config.num_levels, config.latent_channels)
        if losses.perceptual and self.perceptual is not None:
            task.perceptual = UnweightedPerceptualLoss(self.perceptual(), losses.perceptual_size)
        task.recipe = self.recipe
        return task


class _StandIn(nn.Module):
    """Gives pixels that depend on the tokenizer's last layer, as the adaptive weight wants."""

    def __init__(
        self, tok: DCSTok, rebuilt: Tensor, tokens: Tensor, geometry: BatchGeometry
    ) -> None:
        super().__init__()
        self.weight = tok.last_layer(moving=geometry.fps is not None)
        self.rebuilt, self.tokens, self.geometry = rebuilt, tokens, geometry

    def forward(
        self,
        *_: object,
        disturb: Callable[[Latents], Tensor] | None = None,
        **__: object,
    ) -> tuple[Tensor, Latents]:
        n = self.tokens.shape[4]
        levels = torch.full(self.tokens.shape[:4], n, dtype=torch.int64)
        is_whole = n > 1
        latents = Latents(
            tokens=self.tokens,
            levels=levels,
            size=self.geometry.size if is_whole else (1, 1),
            fps=self.geometry.fps if is_whole else None,
            frames=self.geometry.frames if is_whole else 1,
        )
        if disturb is not None and is_whole:
            disturb(latents)
        return self.rebuilt + self.weight.sum(), latents


def _without_blocks(model: DCSTokConfig) -> DCSTokConfig:
    """Leave out the blocks of the trunks."""
    if model.encoder is None or model.decoder is None:
        return model
    return replace(
        model, encoder=replace(model.encoder, blocks=0), decoder=replace(model.decoder, blocks=0)
    )
