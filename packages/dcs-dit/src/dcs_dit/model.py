r"""DCS-DiT: the velocity of noised hierarchical latents (Sec. 3.4, Fig. 4b, Table 3).

    noised (tokens, c) -> linear of its level -> blocks under LCA -> norm -> linear -> velocity
    time, label -> embedding -> adaLN-zero of every block --/
    text states -> cross-attention of every block ---------/

Level causality holds throughout: the velocity of level i depends on no level above i, so that
levels may be generated one after another or at once, with equal results.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dcs_common.blocks import Blocks
from dcs_common.kv_cache import KeyValueCache
from dcs_common.norms import RMSNorm
from dcs_common.pretrained import PretrainedModel
from dcs_common.recompute import call
from dcs_common.rope import GroupedRope, Rotation
from dcs_common.token_layout import TokenLayout
from dcs_dit.block import AdaLNBlock, modulate
from dcs_dit.conditioning import ConditionEmbedding, Conditions, Modulation, TextKeys
from dcs_dit.config import DCSDiTConfig, dcs_dit_xl
from dcs_dit.cross_attention import TextInput
from dcs_dit.level_linear import LevelLinearIn, LevelLinearOut
from dcs_dit.text import TextStates

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """Where tokens lie: all that depends on the layout alone, for use at every step.

    Attributes:
        layout: of the sequence.
        level: (tokens,) from 0.
        rotations: of each group.
    """

    layout: TokenLayout
    level: Tensor
    rotations: tuple[Rotation, ...]


class DCSDiT(PretrainedModel):
    """The generator. Sample from it with :func:`dcs_dit.sample`; calling it is for training.

    Attributes:
        checkpoint_activations: in training, keep the inputs of blocks alone and compute the rest
            again on the way back.
    """

    config_class: ClassVar[type] = DCSDiTConfig
    model_kind: ClassVar[str] = "dcs-dit"
    bundled: ClassVar[dict[str, Path]] = {"dcs-dit-nano": WEIGHTS / "dcs-dit-nano"}
    config: DCSDiTConfig

    def __init__(self, config: DCSDiTConfig | None = None) -> None:
        config = dcs_dit_xl() if config is None else config
        super().__init__(config)
        self.checkpoint_activations = False
        n, c, width = config.num_levels, config.latent_channels, config.width
        self.tokens_in = LevelLinearIn(n, c + config.condition_channels, width)
        self.condition = ConditionEmbedding(width, len(config.labels))
        self.text_in = None if config.text_width is None else TextInput(config.text_width, width)
        self.blocks: Blocks[AdaLNBlock] = Blocks(
            AdaLNBlock(
                width,
                config.heads,
                qk_norm=config.qk_norm,
                modulation_rank=config.modulation_rank,
                with_text=config.text_width is not None,
            )
            for _ in range(config.blocks)
        )
        self.rope = GroupedRope(width // config.heads, config.rope)
        self.norm = RMSNorm(width)
        self.last_modulation = Modulation(width, 2)
        self.tokens_out = LevelLinearOut(n, width, c)
        self.register_buffer("latent_mean", torch.zeros(n, c))
        self.register_buffer("latent_std", torch.ones(n, c))
        self.latent_mean: Tensor
        self.latent_std: Tensor
        if config.condition_channels:
            self.register_buffer("condition_mean", torch.zeros(n, config.condition_channels))
            self.register_buffer("condition_std", torch.ones(n, config.condition_channels))
            self.condition_mean: Tensor
            self.condition_std: Tensor

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile what of the blocks does not depend on level counts, in place.

        Each part is compiled once for all grids and level counts.

        Args:
            *args, **options: of ``torch.compile``; ``dynamic`` is True unless given.
        """
        for block in self.blocks:
            block.compile(*args, **{"dynamic": True, **options})

    # ------------------------------------------------------------------ latents

    def normalise(self, tokens: Tensor) -> Tensor:
        """Bring a tokenizer's tokens (..., n, c) to mean 0 and deviation 1 in every channel."""
        n = tokens.shape[-2]
        return (tokens - self.latent_mean[:n]) / self.latent_std[:n]

    def denormalise(self, tokens: Tensor) -> Tensor:
        """Undo :meth:`normalise`."""
        n = tokens.shape[-2]
        return tokens * self.latent_std[:n] + self.latent_mean[:n]

    def normalise_condition(self, tokens: Tensor) -> Tensor:
        """Bring clean tokens (..., n, condition_channels) to mean 0 and deviation 1."""
        n = tokens.shape[-2]
        return (tokens - self.condition_mean[:n]) / self.condition_std[:n]

    # ------------------------------------------------------------------ velocity

    def place(self, layout: TokenLayout) -> Placement:
        """Prepare what depends on the layout alone."""
        like = self.norm.weight
        level = (layout.token_index % layout.num_levels).to(like.device)
        return Placement(layout, level, layout.rotations(self.rope, like))

    def conditions(
        self,
        time: Tensor,
        labels: Tensor | None = None,
        text: TextStates | None = None,
        texts: tuple[TextKeys, ...] | None = None,
    ) -> Conditions:
        """Compute what depends on time, label and text, in the order of samples given.

        Args:
            time: (b,) in [0, 1].
            labels: (b,) indices; ``len(config.labels)``, or None, for no label.
            text: states of b texts; None for no text.
            texts: what :meth:`text_keys` gave for them, which no time changes.
        """
        embedded = self.condition(time, labels)
        return Conditions(
            tuple(block.modulation(embedded) for block in self.blocks),
            self.last_modulation(embedded),
            self.text_keys(text, len(time)) if texts is None else texts,
        )

    def text_keys(self, text: TextStates | None, batch: int) -> tuple[TextKeys, ...] | None:
        """Compute what depends on texts alone."""
        if self.text_in is None:
            return None
        if text is None:
            like = self.norm.weight
            none = torch.zeros(batch, dtype=torch.int64, device=like.device)
            text = TextStates(like.new_zeros(batch, 0, self.text_in.linear.in_features), none)
        states, is_text = self.text_in(text)
        return tuple(
            block.text_attention.keys(states, is_text)
            for block in self.blocks
            if block.text_attention is not None
        )

    def velocity(
        self,
        sequence: Tensor,
        placement: Placement,
        conditions: Conditions,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Return the velocity of a flat level-major sequence (tokens, c), in its precision.

        Args:
            sequence: the active tokens at the conditions' times, clean ones beside them where the
                model has ``condition_channels``.
            placement: where they lie; with a cache, one level after those that it holds.
            conditions: samples in the order of the layout's groups.
            cache: keys and values of lower levels at the same step; this level's are added.
        """
        layout, level, rotations = placement.layout, placement.level, placement.rotations
        x = self.tokens_in(sequence.to(self.norm.weight), level)
        for i, block in enumerate(self.blocks):
            x = call(
                block,
                x,
                layout,
                rotations,
                conditions.modulations[i],
                None if conditions.texts is None else conditions.texts[i],
                cache.layers[i] if cache else None,
                recompute=self.checkpoint_activations,
            )
        shift, scale = conditions.last.unbind(1)
        return self.tokens_out(modulate(self.norm(x), shift, scale, layout), level)

    def beside(self, noised: Tensor, clean: Tensor | None) -> Tensor:
        """Put clean tokens beside noised ones, (..., c) and (..., condition_channels).

        Raises:
            ValueError: if there are some and must be none, or the reverse.
        """
        found = 0 if clean is None else clean.shape[-1]
        if found != self.config.condition_channels:
            raise ValueError(
                f"Clean tokens of {self.config.condition_channels} channels must stand beside the "
                f"noised ones, but have {found}. Give this model's own condition."
            )
        return noised if clean is None else torch.cat([noised, clean], dim=-1)

    def forward(
        self,
        noised: Tensor,
        time: Tensor,
        levels: Tensor,
        labels: Tensor | None = None,
        text: TextStates | None = None,
        clean: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity of noised, normalised latents.

        Args:
            noised: (b, t, h, w, n, c) at their times; what lies above a sample's level count is
                not looked at.
            time: (b,) in [0, 1]; 0 is noise, 1 is data.
            levels: (b,) how many levels each sample has. Samples of different counts share a batch
                without padding or masks.
            labels, text: as for :meth:`conditions`.
            clean: (b, t, h, w, n, condition_channels) normalised, for a model that has them.

        Returns:
            (b, t, h, w, n, c), zero above each sample's level count.

        Raises:
            ValueError: if there are clean tokens and must be none, or the reverse.
        """
        noised = self.beside(noised, clean)
        b, t, h, w, n, _ = noised.shape
        level_map = levels.cpu().view(b, 1, 1, 1).expand(b, t, h, w)
        layout = TokenLayout.of(level_map, n)
        order = torch.cat([group.samples for group in layout.groups]).to(noised.device)
        if text is not None:
            text = TextStates(text.states[order], text.lengths.to(order.device)[order])
        conditions = self.conditions(time[order], None if labels is None else labels[order], text)
        velocity = self.velocity(layout.gather(noised), self.place(layout), conditions)
        return layout.scatter(velocity)

    def hidden_matrices(self) -> list[str]:
        """Name the weight matrices between inputs and outputs, for an optimiser of matrices."""
        return [
            name
            for name, parameter in self.named_parameters()
            if parameter.ndim == 2 and "blocks." in name and "modulation" not in name
        ]
