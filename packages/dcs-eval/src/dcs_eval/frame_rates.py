"""A clip at another frame rate, for comparing decodes at several rates.

Both clips end with the same frame (Fig. 14b). Frame i of t frames at f per second is
``(t - 1 - i) / f`` seconds old; a frame of that age is taken from the other clip by linear
interpolation between its two neighbours. Frames that coincide are taken as they are, as at 12,
24 and 48 frames per second. There is no low-pass filter: a clip at half the rate holds every second
frame, as a camera's would.
"""

from fractions import Fraction
from math import floor

import torch
from torch import Tensor


def at_rate(clip: Tensor, fps: Fraction, target_fps: Fraction, frames: int) -> Tensor:
    """Return ``frames`` frames of a clip (b, c, T, H, W) at another rate, (b, c, frames, H, W).

    Ages beyond its first frame take that frame.
    """
    last = clip.shape[2] - 1
    ages = [Fraction(frames - 1 - i) / target_fps for i in range(frames)]
    places = [max(Fraction(0), last - age * fps) for age in ages]
    before = [floor(place) for place in places]
    shares = [float(place - start) for place, start in zip(places, before, strict=True)]
    earlier = clip[:, :, before]
    if not any(shares):
        return earlier
    later = clip[:, :, [min(start + 1, last) for start in before]]
    return torch.lerp(earlier, later, clip.new_tensor(shares).view(-1, 1, 1))
