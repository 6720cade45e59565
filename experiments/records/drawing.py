"""Plots and pictures as bytes that are the same each time."""

import io
from typing import TYPE_CHECKING

from PIL import Image

from records.report import Picture, Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGE_PNG = 200_000  # bytes
_JPEG_QUALITY = 90


def plot_svg(plot: Plot) -> bytes:
    """Return a figure as SVG without its date, and with ids that depend on its name alone."""
    import matplotlib  # late: pages are built, and CI tests run, without it

    _tidy(plot.figure)
    buffer = io.BytesIO()
    # Text stays text: a third of the size, readable by search and by screen readers.
    with matplotlib.rc_context({"svg.hashsalt": plot.name, "svg.fonttype": "none"}):
        plot.figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            facecolor="white",
            metadata={"Date": None, "Creator": None},
        )
    lines = buffer.getvalue().decode().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).encode()


def picture_file(picture: Picture) -> tuple[str, bytes]:
    """Return the name and the bytes of a picture's file: PNG, or JPEG where PNG is large."""
    pixels = picture.pixels.detach().float().cpu()
    pixels = pixels[0] if pixels.ndim == 4 else pixels
    pixels = pixels if pixels.ndim == 3 else pixels.unsqueeze(0)
    pixels = pixels.nan_to_num(0).clamp(0, 1).mul(255).round().byte()
    array = pixels.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    data = _encoded(image, "PNG", optimize=True)
    if len(data) <= _LARGE_PNG:
        return f"{picture.name}.png", data
    return f"{picture.name}.jpg", _encoded(image, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def _tidy(figure: "Figure") -> None:
    """Take away what no reader needs, so that plots of different authors look alike."""
    for axes in figure.axes:
        if axes.images or axes.name != "rectilinear" or not axes.axison:
            continue
        if axes.get_label() == "<colorbar>":
            continue
        axes.spines["top"].set_visible(False)
        if axes.yaxis.get_ticks_position() == "right":
            continue  # a second scale, over the grid of the first
        axes.spines["right"].set_visible(False)
        axes.grid(visible=True, color="#e3e6eb", linewidth=0.8)
        axes.set_axisbelow(True)
