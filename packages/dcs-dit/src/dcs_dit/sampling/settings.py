"""How the flow is solved: steps, time shift and guidance (Sec. 6.4)."""

from dataclasses import dataclass

from torch import Tensor


def shifted(time: float, shift: float) -> float:
    """Return t' = s t / (1 + (s - 1) t); s < 1 spends more steps near the noise."""
    # The denominator as a sum of what is not negative: exactly s at t = 1, and never zero.
    return shift * time / (shift * time + (1 - time))


def _is_interval(value: object) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    start, stop = value
    return (
        isinstance(start, int | float) and isinstance(stop, int | float) and 0 <= start <= stop <= 1
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """Settings of the solver.

    Attributes:
        steps: of Euler's method; each evaluates the model once.
        guidance_scale: s of ``v = v_u + s (v_c - v_u)``; 1 is no guidance.
        guidance_interval: (start, stop): guidance is on while ``start <= t <= stop``, t = 0 being
            noise. The paper's is off below 0.1; the comparison is in float64, so that step 5 of 50
            is guided.
        guidance_channels: guide the first so many channels of every token; None for all.
            LightningDiT, which the paper follows, guides 3, and the paper does not say.
        time_shift: s of :func:`shifted`.

    Raises:
        ValueError: if a setting is out of range.
    """

    steps: int = 50
    guidance_scale: float = 6.0
    guidance_interval: tuple[float, float] = (0.1, 1.0)
    guidance_channels: int | None = None
    time_shift: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(
                f"`steps` must be an integer from 1 on, but is {self.steps!r}. The paper uses 50."
            )
        if not 0 <= self.guidance_scale < float("inf"):
            raise ValueError(
                f"`guidance_scale` must be 0 or more and finite, but is {self.guidance_scale}. "
                "1 is no guidance."
            )
        if not _is_interval(self.guidance_interval):
            raise ValueError(
                "`guidance_interval` must be (start, stop) with 0 <= start <= stop <= 1, but is "
                f"{self.guidance_interval}. The paper's is (0.1, 1)."
            )
        if self.guidance_channels is not None and self.guidance_channels < 1:
            raise ValueError(
                f"`guidance_channels` must be at least 1, but is {self.guidance_channels}. None "
                "guides all channels."
            )
        if not 0 < self.time_shift < float("inf"):
            raise ValueError(
                f"`time_shift` must be positive and finite, but is {self.time_shift}. 1 shifts "
                "nothing."
            )

    def times(self) -> tuple[float, ...]:
        """Return the steps + 1 times from 0 (noise) to 1 (data)."""
        return tuple(shifted(i / self.steps, self.time_shift) for i in range(self.steps + 1))

    def is_guided(self, time: float) -> bool:
        """Tell whether a step that starts at ``time`` is guided."""
        start, stop = self.guidance_interval
        return self.guidance_scale != 1 and start <= time <= stop

    def guide(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Combine velocities (..., c)."""
        guided = unconditional + self.guidance_scale * (conditional - unconditional)
        k = self.guidance_channels
        if k is not None and k < conditional.shape[-1]:
            guided[..., k:] = conditional[..., k:]
        return guided
