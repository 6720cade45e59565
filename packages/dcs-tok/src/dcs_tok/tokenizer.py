r"""DCS-Tok: pictures and clips of any scale to hierarchical latents and back (Fig. 3).

    pixels -> patches -> patchifier -> encoder trunk --(+)--> latents (b, t, h, w, n, d)
                    \--> linear path of the canonical patch --/
    latents -> decoder trunk -> depatchifier --(+)--> patches -> pixels at any size and rate
          \--> linear path -------------------/

Every part is level-causal and, over segments, causal in time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid, Rate, source_grid, start_anchored_phase
from dcs_common.kv_cache import KeyValueCache
from dcs_common.latents import Latents
from dcs_common.levels import check_level_map
from dcs_common.pretrained import PretrainedModel
from dcs_common.token_layout import TokenLayout
from dcs_tok.canonical_network import DecoderNetwork, EncoderNetwork, for_both_kinds
from dcs_tok.canonical_stage import CanonicalStage
from dcs_tok.config import DCSTokConfig, dcs_tok_b
from dcs_tok.decoding_target import decoding_target, still_segments
from dcs_tok.depatchifier import Depatchifier
from dcs_tok.linear_path import LinearCode, LinearPath
from dcs_tok.patch_stage import PatchStage, Progress
from dcs_tok.patch_work import default_max_memory
from dcs_tok.patchifier import Patchifier
from dcs_tok.pixel_tokens import PixelTokens
from dcs_tok.pixels import check_pixels
from dcs_tok.posterior import as_posterior, mean_alone, start_without_variance, sum_of_parts
from dcs_tok.trunk import Trunk

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class DecodingStep:
    """A preview: pixels decoded from the levels up to ``level``."""

    level: int
    pixels: Tensor


class DCSTok(PretrainedModel):
    """The tokenizer.

    ``encode``, ``decode`` and ``decode_progressive`` are for use: they check their input, work in
    pieces under a memory ceiling and record no gradients. Calling the module is for training.

    Attributes:
        max_memory: bytes that patch networks and resampling may hold at once, beside inputs,
            outputs, weights and the trunk's activations; None takes 512 MiB on a CPU and a
            sixteenth of a CUDA device's memory.
        patches_at_once: patches that go through the patch networks at once, if memory allows;
            None takes as many as the processor's cache holds, or an accelerator's memory.
        on_progress: called with (patches just done, patches in all) during work.
        checkpoint_activations: in training, keep the inputs of networks and blocks alone and
            compute the rest again on the way back.
    """

    config_class: ClassVar[type] = DCSTokConfig
    model_kind: ClassVar[str] = "dcs-tok"
    companions: ClassVar[tuple[str, ...]] = ("entropy_model.safetensors",)
    bundled: ClassVar[dict[str, Path]] = {
        name: WEIGHTS / name for name in ("dcs-tok-nano", "dcs-tok-nano-rate", "dcs-tok-nano-gen")
    }
    config: DCSTokConfig

    def __init__(self, config: DCSTokConfig | None = None) -> None:
        config = dcs_tok_b() if config is None else config
        super().__init__(config)
        self.max_memory: int | None = None
        self.patches_at_once: int | None = None
        self.on_progress: Progress | None = None
        self.checkpoint_activations = False
        self.pixel_tokens = PixelTokens(config)
        self._add_transformers(config)
        self._add_canonical_code(config)

    def _add_transformers(self, config: DCSTokConfig) -> None:
        self.patchifier = self.encoder = self.decoder = self.depatchifier = None
        networks = (config.patchifier, config.encoder, config.decoder, config.depatchifier)
        patchifier, encoder, decoder, depatchifier = networks
        if patchifier is None or encoder is None or decoder is None or depatchifier is None:
            return
        n, d = config.num_levels, config.latent_channels
        channels = self.pixel_tokens.channels
        self.patchifier = Patchifier(patchifier, config.patch_rope, channels, n)
        written = config.encoder_channels
        self.encoder = Trunk(encoder, config.trunk_rope, patchifier.width, written, n)
        if config.posterior:
            start_without_variance(self.encoder.tokens_out)
        self.decoder = Trunk(decoder, config.trunk_rope, d, depatchifier.width, n)
        self.depatchifier = Depatchifier(
            depatchifier, config.patch_rope, depatchifier.width, channels, n
        )

    def _add_canonical_code(self, config: DCSTokConfig) -> None:
        self.linear_path = self.encoder_networks = self.decoder_networks = None
        canonical = config.canonical
        if canonical is None or not canonical.linear_path:
            return
        n, d = config.num_levels, config.latent_channels
        self.linear_path = LinearPath(n, d, canonical.frames, canonical.grid)
        self.encoder_networks = for_both_kinds(
            EncoderNetwork, canonical.encoder, canonical, n, config.encoder_channels
        )
        self.decoder_networks = for_both_kinds(DecoderNetwork, canonical.decoder, canonical, n, d)
        # What stands beside the linear path starts as an exact zero.
        if self.encoder is not None and self.depatchifier is not None:
            for head in (self.encoder.tokens_out, self.depatchifier.pixels_out):
                torch.nn.init.zeros_(head.weight)
                torch.nn.init.zeros_(head.bias)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the networks of patches and the trunks' blocks, in place.

        What lies between sorts patches by their level counts, and would be compiled anew for every
        level map. Each part is compiled once for all sizes.

        Args:
            *args, **options: of ``torch.compile``; ``dynamic`` is True unless given.
        """
        options = {"dynamic": True, **options}
        networks = [self.patchifier, self.encoder, self.decoder, self.depatchifier]
        beside = [self.encoder_networks, self.decoder_networks]
        kinds = [pair.values() for pair in beside if pair is not None]
        for network in chain(networks, *kinds):
            if network is not None:
                network.compile(*args, **options)

    def _patch_stage(self) -> PatchStage:
        for trunk in (self.encoder, self.decoder):
            if trunk is not None:
                trunk.recompute = self.checkpoint_activations
        return PatchStage(
            self.config,
            self.patchifier,
            self.depatchifier,
            self._canonical_stage("still"),
            self._canonical_stage("moving"),
            next(self.parameters()),
            self._memory_ceiling(),
            self.checkpoint_activations,
            self.on_progress,
            self.patches_at_once,
        )

    def _canonical_stage(self, kind: Literal["still", "moving"]) -> CanonicalStage | None:
        if self.linear_path is None:
            return None
        encoder = decoder = None
        if self.encoder_networks is not None:
            encoder = cast(EncoderNetwork, self.encoder_networks[kind])
        if self.decoder_networks is not None:
            decoder = cast(DecoderNetwork, self.decoder_networks[kind])
        code = self.linear_path.still if kind == "still" else self.linear_path.moving
        ceiling = self._memory_ceiling()
        return CanonicalStage(code, encoder, decoder, ceiling, self.checkpoint_activations)

    def _memory_ceiling(self) -> int:
        if self.max_memory is not None:
            return self.max_memory
        return default_max_memory(next(self.parameters()).device)

    # ---------------------------------------------------------------- encoding

    @torch.no_grad()
    def encode(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
        *,
        anchor: Literal["end", "start"] = "end",
    ) -> Latents:
        """Encode pictures (b, 3, H, W) or clips (b, 3, T, H, W), RGB in [0, 1].

        Args:
            pixels: any size and number of frames.
            fps: frames per second of clips.
            levels: how many levels to compute, one count or a map (t, h, w) or (b, t, h, w);
                default all. ``tokens`` gets as many levels as the highest count.
            patches: k, patches along the short side; default the model's.
            anchor: "end" aligns the last frame with the end of a segment; "start" makes the first
                segment a full one, for streams whose length is not known.

        Raises:
            ValueError: naming requirement, value and remedy.
        """
        latents = self.latents_of(pixels, fps, levels, patches, anchor=anchor)
        return mean_alone(latents, self.config)

    def latents_of(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
        *,
        anchor: Literal["end", "start"] = "end",
    ) -> Latents:
        """Encode differentiably; arguments as for :meth:`encode`.

        Latents of a model with ``config.posterior`` have 2 d channels: means, then deviations.
        """
        clip, rate = check_pixels(pixels, fps)
        size, config = (clip.shape[3], clip.shape[4]), self.config
        phase = self._phase(clip, rate, anchor)
        grid = source_grid(
            size,
            clip.shape[2],
            rate,
            patches=config.patches_of(size) if patches is None else patches,
            segments_per_second=config.segments_per_second,
            phase=phase,
        )
        shape, n = (len(clip), *grid.shape), config.num_levels
        level_map = check_level_map(n if levels is None else levels, shape, n)
        highest = int(level_map.max())
        patch_tokens, code = self._patch_stage().encode(clip, grid, level_map, highest)
        if patch_tokens is not None and self.encoder is not None:
            layout = TokenLayout.of(level_map)
            tokens = layout.scatter(self.encoder(layout.gather(patch_tokens), layout))
            code = tokens if code is None else sum_of_parts(code, tokens)
        assert code is not None, "a tokenizer has a transformer or a canonical code"
        return Latents(
            tokens=as_posterior(code, level_map) if config.posterior else code,
            levels=level_map.to(code.device),
            size=size,
            fps=rate,
            frames=clip.shape[2],
            phase=phase,
            tokenizer=self.fingerprint,
        )

    def _phase(self, clip: Tensor, fps: Fraction | None, anchor: str) -> Fraction:
        if anchor not in ("end", "start"):
            raise ValueError(f"`anchor` must be 'end' or 'start', but is {anchor!r}.")
        if anchor == "end" or fps is None:
            return Fraction(0)
        return start_anchored_phase(clip.shape[2], fps, self.config.segments_per_second)

    # ---------------------------------------------------------------- decoding

    @torch.no_grad()
    def decode(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Tensor:
        """Decode to pixels in [0, 1]: (b, 3, H, W), or (b, 3, T, H, W) for clips.

        Args:
            latents: from this tokenizer or from a generator trained on its latents; of means and
                deviations (:meth:`latents_of`) the means.
            size: (height, width), any that gives each patch a pixel; default the source's.
            fps: frames per second for clips; default the source's. T becomes
                ``max(1, ceil(frames * fps / source fps))``.
            levels: use at most so many levels, a count or a map; default all there are.

        Raises:
            ValueError: naming requirement, value and remedy.
        """
        latents, grid = self._target(latents, size, fps, levels)
        codes = self._latent_tokens(latents)
        out = codes.new_empty(len(codes), 3, grid.num_frames, *grid.size)
        parts = self._patch_stage().decode(
            self._decode_trunk(latents), codes, grid, latents.levels.cpu(), self._is_still(latents)
        )
        for part, patches in parts:
            grid.put(out, part, patches.clamp_(0, 1).unflatten(0, (len(out), -1)))
        return out.squeeze(2) if latents.fps is None else out

    @torch.no_grad()
    def decode_progressive(
        self,
        latents: Latents,
        size: tuple[int, int] | None = None,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
    ) -> Iterator[DecodingStep]:
        """Decode level by level, reusing the keys and values of earlier levels (Eq. 2 to 5).

        Yields a :class:`DecodingStep` after every level; the last equals :meth:`decode`. All
        steps together cost the decoder trunk what one joint pass costs. The depatchifier's
        pixels see every level, so it runs again for each preview, but only for patches that
        the new level changes. Arguments and errors as for :meth:`decode`.
        """
        latents, grid = self._target(latents, size, fps, levels)
        level_map = latents.levels.cpu()
        is_still = self._is_still(latents)
        stage = self._patch_stage()
        codes = self._latent_tokens(latents)
        out = codes.new_empty(len(codes), 3, grid.num_frames, *grid.size)
        trunk = self._decode_trunk_by_level(latents)
        for level in range(int(level_map.max())):
            parts = stage.decode(next(trunk), codes, grid, level_map, is_still, level + 1, out)
            for group, patches in parts:
                grid.put(out, group, patches.clamp_(0, 1).unflatten(0, (len(out), -1)))
            yield DecodingStep(level + 1, (out.squeeze(2) if latents.fps is None else out).clone())

    def _target(
        self,
        latents: Latents,
        size: tuple[int, int] | None,
        fps: Rate | None,
        levels: int | Tensor | None,
    ) -> tuple[Latents, PatchGrid]:
        return decoding_target(latents, size, fps, levels, self.config, self.fingerprint)

    def _is_still(self, latents: Latents) -> tuple[bool, ...]:
        return still_segments(latents, self.config.segments_per_second)

    def _latent_tokens(self, latents: Latents) -> Tensor:
        """Return the tokens on the model's device and in its precision."""
        return latents.tokens.to(next(self.parameters()))

    def _decode_trunk(self, latents: Latents) -> Tensor | None:
        """Return decoder tokens (b, t, h, w, n, width), or None without a trunk."""
        if self.decoder is None:
            return None
        layout = TokenLayout.of(latents.levels, latents.num_levels)
        return layout.scatter(self.decoder(layout.gather(self._latent_tokens(latents)), layout))

    def _decode_trunk_by_level(self, latents: Latents) -> Iterator[Tensor | None]:
        """Yield decoder tokens (b, t, h, w, n, width) as far as each level, in one buffer."""
        if self.decoder is None or self.depatchifier is None:
            yield from repeat(None)
            return
        layout = TokenLayout.of(latents.levels, latents.num_levels)
        cache = KeyValueCache(len(self.decoder.blocks))
        codes = self._latent_tokens(latents)
        tokens = codes.new_zeros(*codes.shape[:5], self.depatchifier.config.width)
        by_token = tokens.view(-1, tokens.shape[-1])
        for level in range(int(latents.levels.max())):
            part = layout.at_level(level)
            new = self.decoder(part.gather(codes), part, cache)
            by_token.index_copy_(0, part.token_index.to(new.device), new)
            yield tokens

    # ---------------------------------------------------------------- training

    def forward(
        self,
        pixels: Tensor,
        fps: Rate | None = None,
        levels: int | Tensor | None = None,
        patches: int | None = None,
        *,
        size: tuple[int, int] | None = None,
        target_fps: Rate | None = None,
        disturb: Callable[[Latents], Tensor] | None = None,
    ) -> tuple[Tensor, Latents]:
        """Encode and decode, differentiably, for training.

        Args:
            pixels, fps, levels, patches: as for :meth:`encode`.
            size, target_fps: scale of the reconstruction; default the input's.
            disturb: makes of the latents the tokens that are decoded, say with noise.

        Returns:
            The reconstruction, not clamped, and what :meth:`latents_of` gives.
        """
        latents = self.latents_of(pixels, fps, levels, patches)
        decoded = latents
        if disturb is not None:
            decoded = replace(latents, tokens=disturb(latents))
        return self.reconstruct(decoded, size, target_fps), latents

    def reconstruct(
        self, latents: Latents, size: tuple[int, int] | None = None, fps: Rate | None = None
    ) -> Tensor:
        """Decode differentiably, without clamping; arguments as for :meth:`decode`."""
        latents, grid = self._target(latents, size, fps, None)
        codes = self._latent_tokens(latents)
        parts = self._patch_stage().decode(
            self._decode_trunk(latents), codes, grid, latents.levels.cpu(), self._is_still(latents)
        )
        pixels = grid.assemble(
            [(part, patches.unflatten(0, (len(codes), -1))) for part, patches in parts]
        )
        return pixels.squeeze(2) if latents.fps is None else pixels

    def hidden_matrices(self) -> list[str]:
        """Name the weight matrices between inputs and outputs, for an optimiser of matrices."""
        ends = ("cells_in.weight", "latents_in.weight", "to_patches.weight", "to_cells.weight")
        return [
            name
            for name, parameter in self.named_parameters()
            if parameter.ndim == 2 and ("blocks." in name or name.endswith(ends))
        ]

    def encoding_half(self) -> set[str]:
        """Name the parameters that decide what a latent means."""
        parts = ("patchifier.", "encoder.", "encoder_networks.", "linear_path.")
        return {
            name
            for name in self.state_dict()
            if name.startswith(parts) and not name.endswith("decode_weight")
        }

    def fingerprinted_tensors(self) -> dict[str, Tensor]:
        """Return the encoding half: a decoder may be fine-tuned without changing latents."""
        half = self.encoding_half()
        return {name: tensor for name, tensor in self.state_dict().items() if name in half}

    def last_layer(self, *, moving: bool) -> Tensor:
        """Return the weight that pixels come out of, for the adaptive weight of Eq. 6."""
        if self.depatchifier is not None:
            return self.depatchifier.pixels_out.weight
        kind = "moving" if moving else "still"
        if self.decoder_networks is not None:
            return cast(DecoderNetwork, self.decoder_networks[kind]).cells_out.weight
        assert self.linear_path is not None, "a tokenizer has a transformer or a linear path"
        return cast(LinearCode, getattr(self.linear_path, kind)).decode_weight
