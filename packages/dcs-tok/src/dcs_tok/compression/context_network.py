r"""The probability model of symbols: a level-recurrent network over what was decoded before.

    conditions (quality, patch area) --MLP--> state of level 1
    state of level i, symbols of level i --conv--> state of level i + 1
    state of level i \
    decoded neighbours of level i      --MLP--> mean, log scale of each channel of the patch
    the same patch one segment before /

Symbols of a level are coded in four passes over a grid of two by two patches, each pass seeing the
neighbours that earlier passes decoded:

    1 3 1 3        pass 2 sees its four diagonal neighbours, pass 3 its four direct ones,
    4 2 4 2        pass 4 all eight
    1 3 1 3

so that each pass is one call for a quarter of the patches. Level order keeps the code embedded: no
symbol depends on a higher level. He et al. (CVPR 2021) give the idea of passes, for two of them.

This is the form that is trained. Files are coded by :mod:`dcs_tok.compression.integer_context`,
which gives the same numbers on every machine.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from dcs_common.blocks import Blocks
from dcs_tok.compression.quantiser import MAX_AREA_CLASS, MAX_QUALITY

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))
"""(row, column) modulo 2 of the patches of each pass."""

MIN_LOG_SCALE, MAX_LOG_SCALE = -3.5, 6.0
CLAMP = 127
"""Of symbols as features of the network; means are predicted from the symbols themselves."""


def neighbours_seen(number: int) -> tuple[tuple[int, int], ...]:
    """Return (row, column) offsets of the direct neighbours that pass ``number`` (0..3) sees."""
    row, column = PASSES[number]
    earlier = PASSES[:number]
    return tuple(
        (y, x)
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if ((row + y) % 2, (column + x) % 2) in earlier
    )


def features(symbols: Tensor) -> Tensor:
    """Return magnitudes on a log scale, with and without sign: (b, d, h, w) to (b, 2 d, h, w)."""
    magnitude = (1 + symbols.abs().clamp(max=CLAMP)).log2()
    return torch.cat([symbols.sign() * magnitude, magnitude], dim=1)


class SeenConv(nn.Module):
    """A 3 x 3 convolution over the neighbours that a pass sees; other taps are zero."""

    mask: Tensor

    def __init__(self, channels: int, out: int, number: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1, bias=bias)
        mask = torch.zeros(3, 3)
        for y, x in neighbours_seen(number):
            mask[y + 1, x + 1] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (b, channels, h, w)."""
        return nn.functional.conv2d(x, self.conv.weight * self.mask, self.conv.bias, padding=1)


class LevelContext(nn.Module):
    """Distribution of one level's symbols, and the state that the next level gets."""

    def __init__(self, channels: int, width: int, *, last: bool) -> None:
        super().__init__()
        self.around: Blocks[SeenConv] = Blocks(SeenConv(2 * channels, width, p) for p in (1, 2, 3))
        self.around_mean: Blocks[SeenConv] = Blocks(
            SeenConv(channels, channels, p, bias=False) for p in (1, 2, 3)
        )
        self.first_pass = nn.Parameter(torch.zeros(width))
        self.before = nn.Conv2d(2 * channels, width, 1, bias=False)
        self.before_mean = nn.Conv2d(channels, channels, 1, bias=False)
        self.hidden = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, 2 * channels, 1)
        self.next_state = None if last else nn.Conv2d(2 * channels + width, width, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.before_mean.weight)
        for seen in self.around_mean:
            nn.init.zeros_(seen.conv.weight)

    def forward(self, state: Tensor, symbols: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log scale (b, 2 d, h, w) together, and the next state.

        Args:
            state: (b, width, h, w).
            symbols: (b, d, h, w) of this level; each pass looks at earlier ones only.
            before: (b, d, h, w), the same of the segment before, zeros for the first.
        """
        seen = features(symbols)
        around = self.first_pass[:, None, None].expand_as(state)
        mean = torch.zeros_like(symbols)
        for number, (wide, linear) in enumerate(zip(self.around, self.around_mean, strict=True), 1):
            here = _pass_mask(symbols, number)
            around = torch.where(here, wide(seen), around)
            mean = torch.where(here, linear(symbols).to(mean.dtype), mean)
        hidden = (state + around + self.before(features(before))).relu()
        out = self.out(self.hidden(hidden).relu())
        mean = mean + self.before_mean(before)
        out = torch.cat([out[:, : len(out[0]) // 2] + mean, out[:, len(out[0]) // 2 :]], dim=1)
        if self.next_state is None:
            return out, state
        return out, self.next_state(torch.cat([seen, state], dim=1)).relu()


def _pass_mask(like: Tensor, number: int) -> Tensor:
    row, column = PASSES[number]
    mask = torch.zeros(like.shape[-2:], dtype=torch.bool, device=like.device)
    mask[row::2, column::2] = True
    return mask


class ContextNetwork(nn.Module):
    """Means and scales of the symbols of all levels.

    Args:
        num_levels, channels: n and d of the tokenizer.
        width: channels of state and hidden layers.
    """

    def __init__(self, num_levels: int, channels: int, width: int = 48) -> None:
        super().__init__()
        self.num_levels, self.channels, self.width = num_levels, channels, width
        self.condition = nn.Sequential(
            nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.levels: Blocks[LevelContext] = Blocks(
            LevelContext(channels, width, last=i == num_levels - 1) for i in range(num_levels)
        )

    def initial_state(self, quality: Tensor, area: Tensor) -> Tensor:
        """Return the state of level 1 (b, width) for qualities and area classes (b,)."""
        conditions = torch.stack([quality / (MAX_QUALITY / 2) - 1, area / (MAX_AREA_CLASS / 2) - 1])
        return self.condition(conditions.T.to(self.levels[0].first_pass))

    def forward(self, symbols: Tensor, quality: Tensor, area: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log scale, each (b, t, h, w, m, d) float32, in symbols.

        Args:
            symbols: (b, t, h, w, m, d), m <= n, integers as floats; zero above a patch's count.
            quality, area: (b,), as of :mod:`dcs_tok.compression.quantiser`.
        """
        b, t, h, w = symbols.shape[:4]
        state = self.initial_state(quality, area)
        state = state[:, None, :, None, None].expand(b, t, -1, h, w).flatten(0, 1)
        means, scales = [], []
        for level, network in zip(range(symbols.shape[4]), self.levels, strict=False):
            here = rearrange(symbols[..., level, :], "b t h w d -> b t d h w")
            before = torch.cat([torch.zeros_like(here[:, :1]), here[:, :-1]], dim=1)
            out, state = network(state, here.flatten(0, 1), before.flatten(0, 1))
            mean, scale = rearrange(out, "(b t) (k d) h w -> k b t h w d", b=b, k=2).float()
            means.append(mean)
            scales.append(scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE))
        return torch.stack(means, dim=4), torch.stack(scales, dim=4)
