"""How a cache of latents is made."""

from dataclasses import dataclass

from dcs_dit.data.cache_plan import DTYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """How latents are made.

    Attributes:
        size: (height, width) that pictures are brought to.
        patches: k, patches along the short side; None for the tokenizer's own.
        levels: n; None for all that the tokenizer has.
        flips: add a mirrored copy of every picture.
        samples_per_shard: copies counted.
        batch_size: samples that are encoded at a time.
        dtype: of the stored tokens.
        max_corrupt: largest share of a job's pictures that may be unreadable.
        seed: of a tokenizer that draws random numbers.
    """

    size: tuple[int, int] = (128, 128)
    patches: int | None = None
    levels: int | None = None
    flips: bool = False
    samples_per_shard: int = 1024
    batch_size: int = 32
    dtype: str = "float16"
    max_corrupt: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")
        if min(self.size) < 1:
            raise ValueError(f"`size` must be at least 1 pixel each way, but is {self.size}.")
        if self.flips and self.samples_per_shard % 2:
            raise ValueError(
                "`samples_per_shard` must be even with mirrored copies, but is "
                f"{self.samples_per_shard}. A picture and its copy share a shard."
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}, but is {self.dtype!r}.")
        if not 0 <= self.max_corrupt <= 1:
            raise ValueError(f"`max_corrupt` must be in [0, 1], but is {self.max_corrupt}.")
