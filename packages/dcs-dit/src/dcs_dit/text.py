"""What texts are to a generator: states of any encoder, for cross-attention (Sec. 6.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class TextStates:
    """Encoded texts.

    Attributes:
        states: (b, s, text_width).
        lengths: (b,) integers, how many of the s states belong to the text; 0 for no text, which
            is the unconditional branch.
    """

    states: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or not self.states.is_floating_point():
            raise ValueError(
                "`states` must be floats of shape (b, s, text_width), but are "
                f"{self.states.dtype} of shape {tuple(self.states.shape)}."
            )
        b, s, _ = self.states.shape
        if tuple(self.lengths.shape) != (b,) or self.lengths.is_floating_point():
            raise ValueError(
                f"`lengths` must be {b} integers, one for each text, but are "
                f"{self.lengths.dtype} of shape {tuple(self.lengths.shape)}."
            )
        if b and (int(self.lengths.min()) < 0 or int(self.lengths.max()) > s):
            raise ValueError(
                f"`lengths` must be between 0 and the {s} states there are, but range from "
                f"{int(self.lengths.min())} to {int(self.lengths.max())}."
            )


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder of texts."""

    @property
    def width(self) -> int:
        """Width of its states."""
        ...

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encode texts; an empty one may have length 0."""
        ...
