"""ADM's centre crop, which ImageNet's published figures were measured on."""

from PIL import Image
from torch import Tensor

from dcs_eval.eight_bit import to_image, to_pixels


def adm_centre_crop(pixels: Tensor, side: int) -> Tensor:
    """Return the square in the centre of a picture (1, 3, H, W), at ``side`` pixels.

    As Dhariwal and Nichol (2021): halved with a box filter for as long as the short side stays at
    least twice ``side``, then brought to it by Pillow's bicubic, then cut out, one pixel less
    above and on the left where the rest is odd. Other ways to resize change FID by more than what
    separates good generators.

    Args:
        pixels: in [0, 1], taken at 8 bits.
        side: in pixels. Smaller pictures are enlarged.
    """
    image = to_image(pixels)
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return to_pixels(image.crop((left, top, left + side, top + side))).to(pixels)
