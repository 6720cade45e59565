r"""Convolutional networks over the canonical picture: what the linear path cannot say.

The canonical patches of one segment, laid side by side, are a picture of ``h g x w g`` pixels
whatever the scale. The networks see it as a grid of *cells* of ``c x c`` pixels, so that patches
know their neighbours at a cost that is linear in the number of patches:

    cells (b, 3 F c c, h g/c, w g/c) -> conv -> cell blocks <-> patch blocks -> conv

    encoder: canonical picture -----------------------> added to the linear code (n, d)
    decoder: linear decode of levels 1..m, and the     -> added to that decode
             latents of the patch and its neighbours

Level causality. The encoder's output for level i is a function of the pixels alone. The decoder is
asked for the patches that hold exactly m levels and is shown no level above m, of any patch; a
level map with several counts takes one pass for each. Segments are independent, so the networks
are causal in time.

Weights of convolutions are matrices (out, kernel kernel in): that is what they are to an optimiser
that treats matrices as such, and what the processor's channels-last kernels read.
"""

from collections.abc import Callable, Iterator
from math import ceil

import torch
from einops import rearrange
from torch import Tensor, nn

from dcs_common.blocks import Blocks
from dcs_common.compiled_method import WithCompiledMethod
from dcs_common.recompute import call
from dcs_tok.config import CanonicalConfig, CanonicalNetworkConfig


class MatrixConv(nn.Module):
    """A convolution whose weight is a matrix (out, kernel * kernel * in), zero-padded."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.kernel, self.stride = channels, kernel, stride
        self.weight = nn.Parameter(torch.empty(out, kernel * kernel * channels))
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.uniform_(self.weight, -1, 1)
        with torch.no_grad():
            self.weight.mul_((3 * self.weight.shape[1]) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (b, in, y, x)."""
        weight = self.weight.view(-1, self.kernel, self.kernel, self.channels).permute(0, 3, 1, 2)
        padding = 0 if self.stride > 1 else self.kernel // 2
        return nn.functional.conv2d(x, weight, self.bias, self.stride, padding)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.channels}, {len(self.bias)}, kernel={self.kernel}, stride={self.stride}"


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``; starts close to the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = MatrixConv(width, width, 3)
        self.second = MatrixConv(width, width, 3)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (b, width, y, x)."""
        return x + self.second(nn.functional.relu(self.first(x)))


class Body(nn.Module):
    """Residual blocks at the resolution of patches and at that of cells, in either order.

    features (b, width, y, x) -> one vector per patch -> patch blocks -> back to cells -> (+)
    """

    def __init__(self, config: CanonicalNetworkConfig, cells: int, *, patches_first: bool) -> None:
        super().__init__()
        self.cells, self.patches_first = cells, patches_first
        self.to_patches = self.to_cells = None
        if config.patch_blocks:
            self.to_patches = MatrixConv(config.width, config.patch_width, cells, stride=cells)
            self.to_cells = MatrixConv(config.patch_width, config.width * cells**2, 1)
        self.patch_blocks: Blocks[ResidualBlock] = Blocks(
            ResidualBlock(config.patch_width) for _ in range(config.patch_blocks)
        )
        self.cell_blocks: Blocks[ResidualBlock] = Blocks(
            ResidualBlock(config.width) for _ in range(config.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform features (b, width, y, x)."""
        if self.patches_first:
            x = self._between_patches(x)
        for block in self.cell_blocks:
            x = block(x)
        return x if self.patches_first else self._between_patches(x)

    def _between_patches(self, x: Tensor) -> Tensor:
        if self.to_patches is None or self.to_cells is None:
            return x
        between = self.to_patches(x)
        for block in self.patch_blocks:
            between = block(between)
        return x + _spread(self.to_cells(between), self.cells)

    def reach(self) -> int:
        """Return how many patches away an input can matter, one more convolution on each side."""
        cells = 2 * len(self.cell_blocks) + 2
        between = 2 * len(self.patch_blocks) + 1 if len(self.patch_blocks) else 0
        return ceil(cells / self.cells) + between


def _spread(patches: Tensor, cells: int) -> Tensor:
    """(b, cells cells c, h, w) to (b, c, h cells, w cells), channels last."""
    out = rearrange(patches, "b (y x c) h w -> b c (h y) (w x)", y=cells, x=cells)
    return out.contiguous(memory_format=torch.channels_last)


def to_cells(canonical: Tensor, cell: int) -> Tensor:
    """Lay canonical patches (b, h, w, f, g, g, 3) out as cells (b, f c c 3, h g/c, w g/c)."""
    picture = rearrange(
        canonical, "b h w f (y a) (x c) k -> b (f a c k) (h y) (w x)", a=cell, c=cell
    )
    return picture.contiguous(memory_format=torch.channels_last)


def from_cells(picture: Tensor, frames: int, grid: int, cell: int) -> Tensor:
    """Undo :func:`to_cells`."""
    return rearrange(
        picture,
        "b (f a c k) (h y) (w x) -> b h w f (y a) (x c) k",
        f=frames,
        a=cell,
        c=cell,
        y=grid // cell,
        x=grid // cell,
    )


def in_strips(
    network: Callable[..., Tensor], inputs: tuple[Tensor, ...], reach: int, rows_at_once: int
) -> Tensor:
    """Apply a network to strips of patch rows, each with ``reach`` rows around it.

    Args:
        network: maps tensors (b, h, w, ...) to one of the same grid; its output at a patch depends
            on patches at most ``reach`` away.
        inputs: what it is applied to.
        reach: patches.
        rows_at_once: rows of a strip, to cap memory. All rows at once give the same result.
    """
    height = inputs[0].shape[1]
    if rows_at_once >= height:
        return network(*inputs)
    return torch.cat(list(_strips(network, inputs, reach, rows_at_once)), dim=1)


def _strips(
    network: Callable[..., Tensor], inputs: tuple[Tensor, ...], reach: int, rows: int
) -> Iterator[Tensor]:
    height = inputs[0].shape[1]
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        low, high = max(0, start - reach), min(height, stop + reach)
        yield network(*(x[:, low:high] for x in inputs))[:, start - low : stop - low]


class EncoderNetwork(nn.Module):
    """Canonical patches and their neighbours to what is added to the linear code."""

    def __init__(
        self,
        config: CanonicalNetworkConfig,
        canonical: CanonicalConfig,
        frames: int,
        num_levels: int,
        latent_channels: int,
    ) -> None:
        super().__init__()
        self.cell, cells = canonical.cell, canonical.grid // canonical.cell
        self.latent_channels = latent_channels
        self.channels_per_patch = config.width * cells**2
        self.cells_in = MatrixConv(3 * frames * canonical.cell**2, config.width, 3)
        self.body = Body(config, cells, patches_first=False)
        self.tokens_out = MatrixConv(
            config.width, num_levels * latent_channels, cells, stride=cells
        )
        nn.init.zeros_(self.tokens_out.weight)

    def forward(self, canonical: Tensor) -> Tensor:
        """Return (b, h, w, n, d) of canonical patches (b, h, w, F, g, g, 3)."""
        features = self.body(self.cells_in(to_cells(canonical - 0.5, self.cell)))
        code = self.tokens_out(features)
        return rearrange(code, "b (n d) h w -> b h w n d", d=self.latent_channels)


class DecoderNetwork(WithCompiledMethod):
    """Latents of patches and their neighbours to what is added to the linear decode.

    All before the last layer can be compiled: see :class:`dcs_tok.depatchifier.Depatchifier`.
    """

    compiled_method = "_features"

    def __init__(
        self,
        config: CanonicalNetworkConfig,
        canonical: CanonicalConfig,
        frames: int,
        num_levels: int,
        latent_channels: int,
    ) -> None:
        super().__init__()
        self.cell, self.grid, self.frames = canonical.cell, canonical.grid, frames
        self.cells = canonical.grid // canonical.cell
        self.channels_per_patch = config.width * self.cells**2
        channels = 3 * frames * canonical.cell**2
        self.cells_in = MatrixConv(channels, config.width, 3)
        self.latents_in = MatrixConv(num_levels * latent_channels, config.width * self.cells**2, 1)
        self.level_embedding = nn.Parameter(torch.empty(num_levels, config.width))
        nn.init.uniform_(self.level_embedding, -0.035, 0.035)
        self.body = Body(config, self.cells, patches_first=True)
        self.cells_out = MatrixConv(config.width, channels, 3)
        nn.init.zeros_(self.cells_out.weight)

    def forward(
        self, linear: Tensor, latents: Tensor, levels: Tensor, *, recompute: bool = False
    ) -> Tensor:
        """Return what is added to the linear decode, for patches that hold the most levels.

        Args:
            linear: (b, h, w, F, g, g, 3), decoded linearly from the same latents.
            latents: (b, h, w, m, d), m <= n; tokens above a patch's count are zero.
            levels: (b, h, w), level counts from 1.
            recompute: keep nothing before the last layer for the backward pass. The last layer is:
                see :meth:`dcs_tok.depatchifier.Depatchifier.forward`.
        """
        features = call(self.run_method, linear, latents, levels, recompute=recompute)
        return from_cells(self.cells_out(features), self.frames, self.grid, self.cell)

    def _features(self, linear: Tensor, latents: Tensor, levels: Tensor) -> Tensor:
        missing = len(self.level_embedding) - latents.shape[3]
        latents = nn.functional.pad(latents, (0, 0, 0, missing))
        features = self.cells_in(to_cells(linear - 0.5, self.cell))
        tokens = rearrange(latents, "b h w n d -> b (n d) h w")
        features = features + _spread(
            self.latents_in(tokens.contiguous(memory_format=torch.channels_last)), self.cells
        )
        level = self.level_embedding[levels.to(features.device) - 1].permute(0, 3, 1, 2)
        level = level.repeat_interleave(self.cells, 2).repeat_interleave(self.cells, 3)
        return self.body(features + level)


def for_both_kinds(
    network: type[EncoderNetwork] | type[DecoderNetwork],
    config: CanonicalNetworkConfig | None,
    canonical: CanonicalConfig,
    num_levels: int,
    latent_channels: int,
) -> nn.ModuleDict | None:
    """Build a network for "still" segments and one for "moving" ones, if there is a config."""
    if config is None:
        return None
    kinds = {"still": 1, "moving": canonical.frames}
    return nn.ModuleDict(
        {
            kind: network(config, canonical, frames, num_levels, latent_channels)
            for kind, frames in kinds.items()
        }
    )
