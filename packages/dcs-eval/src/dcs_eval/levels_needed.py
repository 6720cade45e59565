"""How many levels a picture needs for a quality: content decides it, scale should not (Fig. 6, 7).

Of picture p with the level counts m that were evaluated,

    needed(p) = min { m : PSNR_m(p) >= target },

which is the first level count that reaches the target. Pictures that no level count brings there
have None: they are counted, never left out of a share.
"""

from dataclasses import dataclass

from dcs_eval.reconstruction_report import ReconstructionReport


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelsNeeded:
    """The levels that every picture needs for one quality at one scale.

    Attributes:
        target_psnr: in dB.
        scale: on height and width; elsewhere than at 1, what is reached is agreement.
        counts: the level counts that were evaluated, ascending.
        per_picture: needed levels by picture; None where the target was never reached.
    """

    target_psnr: float
    scale: float
    counts: tuple[int, ...]
    per_picture: dict[str, int | None]

    @property
    def distribution(self) -> dict[int | None, int]:
        """How many pictures need each level count; under None, how many never get there."""
        needed = list(self.per_picture.values())
        return {count: needed.count(count) for count in (*self.counts, None)}

    def share(self, levels: int) -> float:
        """Return the share of all pictures that reach the target with at most ``levels``."""
        reached = [n is not None and n <= levels for n in self.per_picture.values()]
        return sum(reached) / len(reached)

    @property
    def median(self) -> int | None:
        """The least level count that brings half of the pictures there; None if none does."""
        return next((count for count in self.counts if self.share(count) >= 0.5), None)

    @property
    def mean(self) -> float | None:
        """The mean over pictures; None unless every picture reaches the target.

        A mean over only those that do would fall where a harder target drops pictures.
        """
        needed = [n for n in self.per_picture.values() if n is not None]
        return sum(needed) / len(needed) if len(needed) == len(self.per_picture) else None


def levels_needed(
    report: ReconstructionReport, target_psnr: float, scale: float = 1.0
) -> LevelsNeeded:
    """Return how many levels each picture of a report needs for a PSNR.

    Args:
        report: what it holds of level counts are the possible answers.
        target_psnr: in dB.
        scale: one that was evaluated.

    Raises:
        ValueError: if the scale was not evaluated, or the target is not a number.
    """
    if target_psnr != target_psnr:
        raise ValueError(
            "`target_psnr` must be a number of decibels, but is nan. Pass one, such as 30."
        )
    own = [row for row in report.rows if row.fps is None]
    counts = tuple(sorted({row.levels for row in own if row.scale == scale}))
    if not counts:
        scales = sorted({row.scale for row in own})
        raise ValueError(
            f"`scale` must be one that was evaluated, but is {scale:g}. Evaluated: {scales}."
        )
    values = {count: report.per_picture(count, scale) for count in counts}
    return LevelsNeeded(
        target_psnr=target_psnr,
        scale=scale,
        counts=counts,
        per_picture={
            name: next((count for count in counts if values[count][name] >= target_psnr), None)
            for name in values[counts[0]]
        },
    )
