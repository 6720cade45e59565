"""How a cache of latents is made."""

from dataclasses import dataclass

from dcs_dit.data.cache_plan import DTYPES
from dcs_dit.data.clip_choice import ClipChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """How latents are made.

    Attributes:
        size: (height, width) that pictures or frames are brought to.
        patches: k, patches along the short side; None for the tokenizer's own.
        levels: n; None for all that the tokenizer has.
        flips: add a mirrored copy of every picture or clip.
        samples_per_shard: copies counted.
        batch_size: samples that are encoded at a time.
        dtype: of the stored tokens.
        max_corrupt: largest share of a job's files that may be unreadable.
        seed: of a tokenizer that draws random numbers.
        fps: frames per second of clips; None for pictures.
        seconds: duration of a clip, rounded to whole frames; 2/3 s at 24 fps are 16.
        clips_per_file: clips of each video.
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
    fps: int | None = None
    seconds: float = 2 / 3
    clips_per_file: int = 1

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "batch_size", "clips_per_file"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")
        if min(self.size) < 1:
            raise ValueError(f"`size` must be at least 1 pixel each way, but is {self.size}.")
        if self.samples_per_shard % self.copies:
            raise ValueError(
                f"`samples_per_shard` must be a multiple of the {self.copies} samples of each "
                f"file, but is {self.samples_per_shard}. They share a shard."
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}, but is {self.dtype!r}.")
        if not 0 <= self.max_corrupt <= 1:
            raise ValueError(f"`max_corrupt` must be in [0, 1], but is {self.max_corrupt}.")
        if self.fps is None and self.clips_per_file > 1:
            raise ValueError(
                "`clips_per_file` must be 1 for pictures, but is "
                f"{self.clips_per_file}. Give the frame rate of clips as `fps`."
            )
        if self.fps is not None and self.fps < 1:
            raise ValueError(f"`fps` must be at least 1, but is {self.fps}.")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(
                f"`seconds` must be a duration above 0, but is {self.seconds}. 2/3 s at 24 frames "
                "per second are 16 frames."
            )

    @property
    def copies(self) -> int:
        """Samples of each file."""
        return self.clips_per_file * (2 if self.flips else 1)

    @property
    def choice(self) -> ClipChoice | None:
        """Which frames of a video become clips; None for pictures."""
        if self.fps is None:
            return None
        frames = max(1, round(self.seconds * self.fps))
        return ClipChoice(frames=frames, fps=self.fps, clips=self.clips_per_file)
