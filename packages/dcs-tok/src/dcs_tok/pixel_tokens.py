"""How a patch becomes pixel tokens and pixel tokens become a patch.

"source": every pixel of the patch is a token (Sec. 3.2). "canonical": tokens are cells of the
canonical patch, so that their number does not depend on the scale.
"""

from fractions import Fraction

from einops import rearrange
from torch import Tensor

from dcs_common.geometry import PatchGroup
from dcs_common.positions import pixel_coordinates
from dcs_tok.canonical_patch import from_canonical, read_frames, temporal_matrices
from dcs_tok.config import CanonicalConfig, DCSTokConfig

Times = tuple[Fraction, ...]


def canonical_times(times: Times, frames: int) -> Times:
    """Return the times at which a canonical patch is written for a patch with these frames.

    A few frames are written where they are; more than F are read from the canonical ones.
    """
    if len(times) <= frames:
        return times
    return tuple(Fraction(i + 1, frames) for i in range(frames))


class PixelTokens:
    """Conversion between patches and pixel tokens for one config."""

    def __init__(self, config: DCSTokConfig) -> None:
        self.from_source = config.pixel_tokens == "source"
        # Source tokens need no canonical patch; its sizes are then never read.
        self.canonical = config.canonical or CanonicalConfig(frames=1, grid=1)
        self.channels = 3 if self.from_source else 3 * self.canonical.cell**2

    def encoding_coordinates(self, group: PatchGroup) -> Tensor:
        """Return the coordinates (P, 4) of the tokens that enter the patchifier."""
        if self.from_source:
            return pixel_coordinates(group.times, group.height, group.width)
        frames = self.canonical.frames
        times = group.times
        if len(times) > 1:
            times = tuple(Fraction(i + 1, frames) for i in range(frames))
        return self._cell_coordinates(times)

    def decoding_coordinates(self, group: PatchGroup) -> Tensor:
        """Return the coordinates (P, 4) of the tokens that the depatchifier is asked for."""
        if self.from_source:
            return pixel_coordinates(group.times, group.height, group.width)
        return self._cell_coordinates(canonical_times(group.times, self.canonical.frames))

    def _cell_coordinates(self, times: Times) -> Tensor:
        cells = self.canonical.grid // self.canonical.cell
        return pixel_coordinates(times, cells, cells)

    def embeddable(self, patches: Tensor, canonical: Tensor | None) -> Tensor:
        """Return token values (p, P, c) around 0 from patches or canonical patches in [0, 1]."""
        if self.from_source:
            return patches.flatten(1, 3) * 2 - 1
        assert canonical is not None, "canonical tokens come from canonical patches"
        cell = self.canonical.cell
        tokens: Tensor = rearrange(
            canonical, "p f (y a) (x b) c -> p (f y x) (a b c)", a=cell, b=cell
        )
        return tokens * 2 - 1

    def read(self, outputs: Tensor | None, linear: Tensor | None, group: PatchGroup) -> Tensor:
        """Return patches (p, f, h, w, 3) from the depatchifier's outputs (p, P, c).

        Args:
            outputs: token values; around 0 without a canonical code, a correction beside one. None
                for a model without a depatchifier.
            linear: (p, f, g, g, 3), the canonical code's frames, or None.
            group: the patches' shape.
        """
        height, width = group.height, group.width
        if outputs is None:
            assert linear is not None, "a tokenizer has a transformer or a canonical code"
            return from_canonical(linear, height, width)
        if linear is None:
            outputs = outputs * 0.5 + 0.5
        if self.from_source:
            patches = outputs.unflatten(1, (len(group.times), height, width))
            return patches if linear is None else patches + from_canonical(linear, height, width)
        cell, cells = self.canonical.cell, self.canonical.grid // self.canonical.cell
        frames = rearrange(
            outputs,
            "p (f y x) (a b c) -> p f (y a) (x b) c",
            y=cells,
            x=cells,
            a=cell,
            b=cell,
        )
        if len(group.times) > self.canonical.frames:
            frames = read_frames(frames, temporal_matrices(group.times, self.canonical.frames)[1])
        if linear is not None:
            frames = frames + linear
        return from_canonical(frames, height, width)
