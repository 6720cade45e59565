"""Linear path and networks over the canonical picture of one segment.

The picture holds the canonical patches of all rows and columns, (b, h, w, F, g, g, 3). Encoding
adds the encoder network's output to the linear code. Decoding takes one pass for each level count
that occurs: patches that hold m levels are decoded from a picture of at most m levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from dcs_common.recompute import call
from dcs_tok.canonical_network import DecoderNetwork, EncoderNetwork, in_strips
from dcs_tok.linear_path import LinearCode
from dcs_tok.posterior import sum_of_parts

# Activations alive at once in a network, in multiples of a cell's channels.
_LIVE_ACTIVATIONS = 8


@dataclass(frozen=True)
class CanonicalStage:
    """The code of still or of moving segments.

    Attributes:
        linear: the linear code.
        encoder, decoder: the networks beside it, or None.
        max_memory: bytes for what is alive at once, beside the pictures themselves.
        recompute: keep only the networks' inputs for the backward pass.
    """

    linear: LinearCode
    encoder: EncoderNetwork | None
    decoder: DecoderNetwork | None
    max_memory: int
    recompute: bool = False

    def encode(self, picture: Tensor, levels: int) -> Tensor:
        """Return latents (b, h, w, levels, d) of a canonical picture (b, h, w, F, g, g, 3)."""
        code = self.linear.encode(picture.flatten(0, 2), levels).unflatten(0, picture.shape[:3])
        if self.encoder is None:
            return code
        rows = self._rows_at_once(picture.shape, self.encoder)
        network = partial(call, self.encoder, recompute=self.recompute)
        added = in_strips(network, (picture,), self.encoder.body.reach(), rows)
        return sum_of_parts(code, added[..., :levels, :].to(code))

    def decode(self, latents: Tensor, level_map: Tensor, level: int | None = None) -> Tensor:
        """Return the canonical picture (b, h, w, F, g, g, 3).

        Args:
            latents: (b, h, w, n, d); tokens above a patch's count are not looked at.
            level_map: (b, h, w) on the CPU.
            level: decode only patches of this count, which must be the highest; others are zero.
        """
        b, h, w = level_map.shape
        parts = []
        for sample, count in self._passes(level_map, level):
            held = level_map[sample].clamp(max=count[:, None, None])
            where = (level_map[sample] == count[:, None, None]).flatten().nonzero()[:, 0]
            frames = self._decode_uniform(latents[sample.to(latents.device)], held, count)
            frames = frames.flatten(0, 2)
            if len(where) < len(frames):
                frames = frames.index_select(0, where.to(frames.device))
            row = (sample[:, None] * (h * w) + torch.arange(h * w)).flatten()[where]
            parts.append((row, frames))
        rows = torch.cat([row for row, _ in parts])
        frames = torch.cat([part for _, part in parts])
        if not torch.equal(rows, torch.arange(b * h * w)):
            empty = frames.new_zeros(b * h * w, *frames.shape[1:])
            frames = empty.index_copy(0, rows.to(frames.device), frames)
        return frames.unflatten(0, (b, h, w))

    def _passes(self, level_map: Tensor, level: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (samples, level counts), each pair once; many pairs where memory allows."""
        counts = [torch.unique(sample).tolist() for sample in level_map]
        pairs = [
            (i, m) for i, found in enumerate(counts) for m in found if level is None or m == level
        ]
        h, w = level_map.shape[1:]
        at_once = max(1, self.max_memory // self._picture_bytes(h, w))
        for start in range(0, len(pairs), at_once):
            sample, count = torch.tensor(pairs[start : start + at_once]).unbind(dim=1)
            yield sample, count

    def _decode_uniform(self, latents: Tensor, held: Tensor, count: Tensor) -> Tensor:
        """Decode samples (p, h, w, n, d), each shown no level above its ``count`` (p,)."""
        n, frames = latents.shape[3], self.linear.frames
        shown = (torch.arange(n) < held.unsqueeze(-1)).unsqueeze(-1)
        latents = latents * shown.to(latents)
        times = tuple(Fraction(i + 1, frames) for i in range(frames))
        highest = int(count.max())
        linear = self.linear.decode(latents[..., :highest, :].flatten(0, 2), times)
        linear = linear.unflatten(0, held.shape)
        if self.decoder is None:
            return linear
        rows = self._rows_at_once(linear.shape, self.decoder)
        inputs = (linear, latents, held)
        network = partial(self.decoder, recompute=self.recompute)
        return linear + in_strips(network, inputs, self.decoder.body.reach(), rows).to(linear)

    def _picture_bytes(self, height: int, width: int) -> int:
        """Return what the decoder holds for one sample."""
        channels = 3 * self.linear.frames * self.linear.grid**2
        if self.decoder is not None:
            channels += self.decoder.channels_per_patch * _LIVE_ACTIVATIONS
        return height * width * channels * self.linear.mean.element_size()

    def _rows_at_once(self, shape: torch.Size, network: EncoderNetwork | DecoderNetwork) -> int:
        row = shape[0] * shape[2] * network.channels_per_patch
        bytes_per_row = row * _LIVE_ACTIVATIONS * self.linear.mean.element_size()
        return max(1, self.max_memory // bytes_per_row - 2 * network.body.reach())
