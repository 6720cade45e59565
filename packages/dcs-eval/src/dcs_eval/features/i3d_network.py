"""Inflated Inception for clips (I3D; Carreira and Zisserman 2017), as DeepMind published it.

Names of modules are those of piergiaj/pytorch-i3d, which state dicts in circulation have:
``Conv3d_1a_7x7.conv3d.weight``, ``Mixed_3b.b1b.bn.weight``, ``logits.conv3d.bias``.

clip (3, T, H, W) -> stem -> 9 mixed blocks, 4 poolings -> (1024, t, 7, 7) -> mean -> logits (400)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 400  # of Kinetics
_POOL = 2  # steps in time that the last average takes


class I3D(nn.Module):
    """Logits of clips: figure 3 of the paper, without the softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.Mixed_3b = Mixed(192, 64, (96, 128), (16, 32), 32)
        self.Mixed_3c = Mixed(256, 128, (128, 192), (32, 96), 64)
        self.Mixed_4b = Mixed(480, 192, (96, 208), (16, 48), 64)
        self.Mixed_4c = Mixed(512, 160, (112, 224), (24, 64), 64)
        self.Mixed_4d = Mixed(512, 128, (128, 256), (24, 64), 64)
        self.Mixed_4e = Mixed(512, 112, (144, 288), (32, 64), 64)
        self.Mixed_4f = Mixed(528, 256, (160, 320), (32, 128), 128)
        self.Mixed_5b = Mixed(832, 256, (160, 320), (32, 128), 128)
        self.Mixed_5c = Mixed(832, 384, (192, 384), (48, 128), 128)
        self.logits = Unit(1024, CLASSES, 1, plain=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Return logits (N, 400) of clips (N, 3, T, 224, 224) in [-1, 1], T at least 9.

        Clips of more than 16 frames give logits at several times, of which this is the mean.
        """
        x = F.avg_pool3d(self.trunk(clips), (_POOL, 7, 7), stride=1)
        return self.logits(x).flatten(2).mean(2)

    def trunk(self, clips: Tensor) -> Tensor:
        """Return (N, 1024, T / 8, H / 32, W / 32), rounded up, of clips (N, 3, T, H, W)."""
        x = max_pool(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = max_pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = max_pool(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        for block in (self.Mixed_4b, self.Mixed_4c, self.Mixed_4d, self.Mixed_4e, self.Mixed_4f):
            x = block(x)
        return self.Mixed_5c(self.Mixed_5b(max_pool(x, (2, 2, 2), (2, 2, 2))))


class Unit(nn.Module):
    """A convolution, then normalisation and ReLU.

    Args:
        inputs, outputs: channels.
        kernel: its extent in time, height and width.
        stride: the same for all three.
        plain: a bias alone, as the last one has it.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, plain: bool = False
    ) -> None:
        super().__init__()
        self._kernel, self._stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride=stride, bias=plain)
        # DeepMind's and pytorch-i3d's epsilon. TATS' copy of the network has 1e-5.
        self.bn = None if plain else nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, t, h, w) of (N, inputs, T, H, W)."""
        x = self.conv3d(pad_same(x, self._kernel, self._stride))
        return x if self.bn is None else F.relu(self.bn(x))


class Mixed(nn.Module):
    """Four branches side by side: 1x1; 1x1, 3x3; 1x1, 3x3; pooling, 1x1."""

    def __init__(
        self, inputs: int, first: int, second: tuple[int, int], third: tuple[int, int], fourth: int
    ) -> None:
        super().__init__()
        self.b0 = Unit(inputs, first, 1)
        self.b1a = Unit(inputs, second[0], 1)
        self.b1b = Unit(*second, 3)
        self.b2a = Unit(inputs, third[0], 1)
        self.b2b = Unit(*third, 3)
        self.b3b = Unit(inputs, fourth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' channels, one after another."""
        pooled = max_pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat(
            [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1
        )


def max_pool(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return the maxima of (N, C, T, H, W), padded as TensorFlow's ``SAME``.

    With zeros, which no maximum of what a ReLU gave falls below.
    """
    return F.max_pool3d(pad_same(x, kernel, stride), tuple(kernel), tuple(stride))


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return (N, C, T, H, W) with zeros around, as TensorFlow's ``SAME`` pads.

    So that an axis of ``n`` has ``ceil(n / stride)`` outputs; the odd zero comes last.
    """
    padding: list[int] = []
    for extent, width, step in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-extent // step) - 1) * step + width - extent, 0)
        padding = [total // 2, total - total // 2, *padding]  # F.pad counts from the last axis
    return F.pad(x, padding)
