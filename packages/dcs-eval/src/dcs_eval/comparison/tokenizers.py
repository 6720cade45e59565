"""Tokenizers on the same pictures at several scales, each encoded and decoded at that scale.

picture --reduce to a short side--> pixels --encode--> tokens --decode 1..m levels--> quality
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from dcs_common.protocols import ImageTokenizer
from dcs_eval.comparison.short_side import at_short_side
from dcs_eval.comparison.token_count import CountingTokenizer, channels
from dcs_eval.comparison.tokenizer_comparison import TokenizerAtScale, TokenizerComparison
from dcs_eval.metrics import Comparison
from dcs_eval.reconstruction import evaluate_reconstruction, levels_in_common


def compare_tokenizers(
    tokenizers: Mapping[str, ImageTokenizer],
    pictures: Iterable[tuple[str, Tensor]],
    *,
    short_sides: Sequence[int],
    levels: Sequence[int] | None = None,
    target_psnr: float | None = None,
    ssim: Comparison | None = None,
    lpips: Comparison | None = None,
) -> TokenizerComparison:
    """Measure tokenizers on pictures at several scales, by :func:`evaluate_reconstruction`.

    Args:
        tokenizers: by the names that tables give them.
        pictures: pairs of a name and pixels (1, 3, H, W) in [0, 1]; gone through once for every
            tokenizer and scale, so a list, or an object whose ``__iter__`` reads them anew.
        short_sides: in pixels. No picture is enlarged.
        levels: the level counts to decode. A tokenizer takes part with those that it has, and
            with all that it has where these are none. All of them by default.
        target_psnr: in dB; adds how many levels and tokens it takes.
        ssim, lpips: measured too where given.

    Raises:
        ValueError: if there is no tokenizer or picture, or an argument or picture is not usable.
    """
    sides = sorted(set(short_sides))
    _check(tokenizers, pictures, sides)
    if levels is not None and (not levels or min(levels) < 1):
        raise ValueError(
            f"`levels` must be counts of at least 1, but are {tuple(levels)}. Leave them out for "
            "all."
        )
    found: list[TokenizerAtScale] = []
    for name, tokenizer in tokenizers.items():
        counts = levels_in_common(levels, tokenizer.config.num_levels)
        for side in sides:
            counting = CountingTokenizer(tokenizer)
            report = evaluate_reconstruction(
                counting, _reduced(pictures, side), levels=counts, ssim=ssim, lpips=lpips
            )
            names = list(dict.fromkeys(row.picture for row in report.rows))
            found.append(
                TokenizerAtScale(
                    tokenizer=name,
                    short_side=side,
                    report=report,
                    tokens={count: counting.tokens(count, names) for count in counts},
                    channels=channels(tokenizer),
                )
            )
    return TokenizerComparison(scales=tuple(found), target_psnr=target_psnr)


def _reduced(pictures: Iterable[tuple[str, Tensor]], side: int) -> Iterator[tuple[str, Tensor]]:
    for name, pixels in pictures:
        yield name, at_short_side(pixels, side, name)


def _check(
    tokenizers: Mapping[str, ImageTokenizer],
    pictures: Iterable[tuple[str, Tensor]],
    sides: Sequence[int],
) -> None:
    if not tokenizers:
        raise ValueError("`tokenizers` must hold at least one, but is empty. Pass {name: it}.")
    if not sides or min(sides) < 1:
        raise ValueError(
            f"`short_sides` must hold numbers of pixels of at least 1, but are {tuple(sides)}. "
            "Pass (128, 256), say."
        )
    if iter(pictures) is pictures:
        raise ValueError(
            "`pictures` must be readable more than once, for every tokenizer and scale, but is a "
            f"{type(pictures).__name__}, which is read once. Pass a list."
        )
