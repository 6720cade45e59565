"""A patch discriminator that needs no download (for L_adv of Eq. 6).

    pixels (b, 3, H, W) -> conv 4x4 /2, twice as wide each time -> conv 4x4 -> conv 4x4 -> logits

The PatchGAN of pix2pix (Isola et al. 2017): every logit judges one window of the picture, 70
pixels wide by default, so pictures of any size will do. The paper does not describe its
discriminator. The work it builds on (VFRTok) judges frozen DINO features, which would have to be
downloaded.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dcs_tok.losses.frames import frames_of

_KERNEL = 4
_WIDEST = 8  # channels stop doubling at this multiple of the first width


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchDiscriminatorConfig:
    """Size of a patch discriminator.

    Attributes:
        width: channels of the first convolution.
        strided_layers: convolutions that halve the picture; 3 give windows of 70 pixels.
    """

    width: int = 64
    strided_layers: int = 3

    def __post_init__(self) -> None:
        for name in ("width", "strided_layers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)}. Use a larger one."
                )

    @property
    def window(self) -> int:
        """Side in pixels of the window that one logit sees."""
        side = 1
        for stride in [1, 1] + [2] * self.strided_layers:
            side = (side - 1) * stride + _KERNEL
        return side

    @property
    def smallest_side(self) -> int:
        """Smallest side in pixels of a picture that gives at least one logit."""
        return 3 * 2**self.strided_layers


class PatchDiscriminator(nn.Module):
    """Tell real windows from reconstructed ones: high logits for real.

    Every convolution's weight is divided by its largest singular value (spectral normalisation,
    Miyato et al. 2018), which bounds how fast logits change with the pixels. It uses no
    statistics of the data, so neither batch mates, nor the rest of the picture, nor the split
    over processes matters; batch norm would break all three, group norm the second.
    """

    def __init__(self, config: PatchDiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PatchDiscriminatorConfig()
        strided = config.strided_layers
        widths = [config.width * min(2**i, _WIDEST) for i in range(strided + 1)]
        self.convolutions = nn.ModuleList(
            spectral_norm(
                nn.Conv2d(before, after, _KERNEL, stride=2 if i < strided else 1, padding=1)
            )
            for i, (before, after) in enumerate(pairwise([3, *widths, 1]))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Judge pixels in [0, 1], clips frame by frame.

        Args:
            pixels: (b, 3, H, W) or (b, 3, T, H, W).

        Returns:
            Logits (b, 1, h, w) or (b * T, 1, h, w), one for each window.

        Raises:
            ValueError: if the shape is neither, or a side is too short.
        """
        x = frames_of(pixels)
        height, width = x.shape[2:]
        if min(height, width) < self.config.smallest_side:
            raise ValueError(
                f"Pictures must have at least {self.config.smallest_side} pixels a side for this "
                f"discriminator, but have {width}x{height}. Enlarge them, or use fewer "
                "`strided_layers`."
            )
        x = 2 * x - 1
        *hidden, last = self.convolutions
        for convolution in hidden:
            x = nn.functional.leaky_relu(convolution(x), 0.2)
        return last(x)
