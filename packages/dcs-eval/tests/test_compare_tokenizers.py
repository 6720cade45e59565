"""`compare_tokenizers`: tables whose numbers are known by hand, and what is refused."""

from collections.abc import Iterator, Mapping
from math import inf, log10
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common import Latents
from dcs_eval.comparison.scaling import change_per_doubling
from dcs_eval.comparison.short_side import at_short_side, size_at_short_side
from dcs_eval.comparison.token_count import CountingTokenizer
from dcs_eval.comparison.tokenizer_comparison import TokenizerComparison
from dcs_eval.comparison.tokenizers import compare_tokenizers
from dcs_eval.metrics import Comparison

from .conftest import photograph
from .errors import error
from .plain_tokenizers import Offset, Pooling


def squares(count: int = 2, side: int = 64) -> list[tuple[str, Tensor]]:
    return [(f"p{index}", photograph(index, side, side)) for index in range(count)]


def compared(tokenizers: Mapping[str, Any], **changes: Any) -> TokenizerComparison:
    arguments: dict[str, Any] = {"pictures": squares(), "short_sides": (16, 32, 64), **changes}
    return compare_tokenizers(tokenizers, arguments.pop("pictures"), **arguments)


def always_7(picture: Tensor, reference: Tensor) -> float:
    return 0.7


def test_tables_of_known_numbers() -> None:
    never: Comparison = always_7
    found = compared({"fixed": Offset(0.0, 5), "better": Offset(0.5)}, lpips=never, target_psnr=22)
    assert found.metrics == ("psnr", "lpips")
    assert found.table().splitlines() == [
        "| tokenizer | levels | short side | tokens | channels | PSNR, dB | LPIPS |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| fixed | 1 | {side} | {5 * side} | – | 20.00 ± 0.00 | 0.7000 ± 0.0000 |"
            for side in (16, 32, 64)
        ),
        "| better | 1 | 16 | – | – | 20.00 ± 0.00 | 0.7000 ± 0.0000 |",
        "| better | 1 | 32 | – | – | 23.01 ± 0.00 | 0.7000 ± 0.0000 |",
        "| better | 1 | 64 | – | – | 26.02 ± 0.00 | 0.7000 ± 0.0000 |",
    ]
    scaling, target = found.scaling_table(), found.target_table()
    assert scaling is not None and target is not None
    assert scaling.splitlines()[0] == (
        "| tokenizer | levels | tokens from 16 to 64 | PSNR, dB per doubling | LPIPS per doubling |"
    )
    change = found.change_per_doubling("better", 1)
    assert change is not None
    assert change.mean == pytest.approx(20 * log10(2**0.5), abs=1e-3)
    assert scaling.splitlines()[3].startswith("| better | 1 | – to – | +3.01 ± 0.00 |")
    assert "| 80 to 320 |" in scaling.splitlines()[2]
    assert target.splitlines() == [
        "| tokenizer | short side | levels | median | tokens | pictures that reach it |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(f"| fixed | {side} | – | – | – | 0 of 2 |" for side in (16, 32, 64)),
        "| better | 16 | – | – | – | 0 of 2 |",
        "| better | 32 | 1.00 ± 0.00 | 1 | – | 2 of 2 |",
        "| better | 64 | 1.00 ± 0.00 | 1 | – | 2 of 2 |",
    ]
    assert found.markdown().startswith("2 pictures, each reduced to every short side (")
    assert "reach 22 dB" in found.markdown()


def test_the_claim_fixed_capacity_falls_with_scale_and_growing_capacity_does_not() -> None:
    found = compared({"fixed": Pooling(8), "vanilla": Pooling(patch=2), "one": Pooling(4)})
    fixed = found.change_per_doubling("fixed", 1)
    vanilla = found.change_per_doubling("vanilla", 1)
    assert fixed is not None and vanilla is not None
    assert fixed.mean < -1 < 1 < vanilla.mean
    at_64 = [found.at(name, 64) for name in ("fixed", "vanilla", "one")]
    # Latents stand on the finest grid: 16, 64 and 8 cells a side.
    assert [some.mean_tokens(1) for some in at_64] == [256, 4096, 64]
    assert [some.mean_tokens(2) for some in at_64] == [512, 8192, 128]
    assert {some.channels for some in at_64} == {3}
    assert found.at("fixed", 16).mean_tokens(1) == 256
    assert found.at("vanilla", 16).mean_tokens(1) == 256


def test_a_single_scale_has_no_change_and_no_target_no_table() -> None:
    found = compared({"a": Offset()}, short_sides=(32,))
    assert found.scaling_table() is None
    assert found.target_table() is None
    assert found.change_per_doubling("a", 1) is None
    assert "doubling" not in found.markdown()


def test_one_picture_has_no_interval() -> None:
    found = compared({"a": Offset(0.0, 1)}, pictures=squares(1))
    assert found.table().splitlines()[2] == "| a | 1 | 16 | 16 | – | 20.00 |"
    assert found.markdown().startswith("1 picture, each")


def test_levels_that_a_tokenizer_lacks_are_left_out() -> None:
    found = compared(
        {"two": Pooling(2), "three": Pooling(2, levels=3)}, levels=(3, 2), short_sides=(32,)
    )
    assert found.at("two", 32).levels == (2,)
    assert found.at("three", 32).levels == (2, 3)
    alone = compared({"one": Offset()}, levels=(4,), short_sides=(32,))
    assert alone.at("one", 32).levels == (1,)


def test_infinite_quality_is_no_number_in_the_file() -> None:
    found = compared({"exact": Offset(inf)}, short_sides=(32, 64))
    assert found.change_per_doubling("exact", 1) is None
    content = found.content()
    assert content["per_doubling"] == []
    assert content["scales"][0]["rows"][0] == {
        "picture": "p0",
        "levels": 1,
        "tokens": None,
        "psnr": None,
    }
    scaling = found.scaling_table()
    assert scaling is not None
    assert scaling.splitlines()[2] == "| exact | 1 | – to – | – |"


def test_tokens_follow_a_map_of_levels() -> None:
    levels = torch.tensor([[[[1, 3], [2, 3]]], [[[1, 1], [1, 2]]]])

    class Adaptive:
        config = Pooling(levels=3).config

        def encode(self, pixels: Tensor) -> Latents:
            return Latents(tokens=torch.zeros(2, 1, 2, 2, 3, 5), levels=levels, size=(8, 8))

    counting = CountingTokenizer(Adaptive())  # type: ignore[arg-type]
    counting.encode(torch.zeros(2, 3, 8, 8))
    names = ("a", "b")
    assert [counting.tokens(count, names) for count in (1, 2, 3)] == [
        {"a": 4, "b": 4},
        {"a": 7, "b": 5},
        {"a": 9, "b": 5},
    ]


@given(
    slope=st.floats(-5, 5),
    offsets=st.lists(st.floats(-20, 20), min_size=2, max_size=6),
    sides=st.lists(st.integers(3, 10), min_size=2, max_size=5, unique=True),
)
def test_a_line_over_log2_has_its_own_slope(
    slope: float, offsets: list[float], sides: list[int]
) -> None:
    values = {
        2**power: {str(i): offset + slope * power for i, offset in enumerate(offsets)}
        for power in sides
    }
    found = change_per_doubling(values)
    assert found is not None and found.half_width is not None
    assert found.mean == pytest.approx(slope, abs=1e-9)
    # Whatever pictures differ by, a slope that all share is sure.
    assert found.half_width == pytest.approx(0, abs=1e-9)


def test_slopes_differ_by_pictures() -> None:
    found = change_per_doubling({8: {"a": 0.0, "b": 0.0}, 32: {"a": 2.0, "b": 6.0}})
    assert found is not None and found.half_width is not None
    assert found.mean == 2
    # Slopes 1 and 3: t(0.975, 1) * sqrt(2) / sqrt(2).
    assert found.half_width == pytest.approx(12.706, abs=1e-3)


def test_means_of_levels_need_every_picture() -> None:
    """A hard picture that never gets there must not make the mean smaller."""

    class Graded(Pooling):
        """Wrong by 0.1 at level 1 and 0.01 at level 2, but dark pictures by 0.1 at both."""

        def decode(self, latents: Latents, size=None, fps=None, levels=None) -> Tensor:
            mean = latents.tokens[:, 0, :, :, 0].mean()
            wrong = 0.1 if levels == 1 or mean < 0.3 else 0.01
            return mean.expand(1, 3, *latents.size) + wrong

    flat = {name: torch.full((1, 3, 16, 16), grey) for name, grey in (("a", 0.5), ("dark", 0.2))}
    rows = []
    for names in (("a",), ("a", "dark")):
        pictures = [(name, flat[name]) for name in names]
        table = compared(
            {"x": Graded(4)}, pictures=pictures, short_sides=(16,), target_psnr=30
        ).target_table()
        assert table is not None
        rows.append(table.splitlines()[2])
    assert rows == ["| x | 16 | 2.00 | 2 | 128 | 1 of 1 |", "| x | 16 | – | 2 | – | 1 of 2 |"]


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), side=st.integers(1, 1000))
def test_sizes_keep_the_aspect(height: int, width: int, side: int) -> None:
    rows, columns = size_at_short_side((height, width), side)
    assert min(rows, columns) == side
    assert abs(rows * width - columns * height) <= max(height, width) / 2


def test_reduced_pictures_are_antialiased_in_8_bit_steps() -> None:
    stripes = torch.zeros(1, 3, 32, 48)
    stripes[..., ::2] = 1
    small = at_short_side(stripes, 8, "stripes")
    assert small.shape == (1, 3, 8, 12)
    assert float((small - 0.5).abs().max()) < 0.05
    assert torch.equal(small, small.mul(255).round().div(255))
    assert at_short_side(stripes, 32, "stripes") is stripes
    with error(
        "Pictures must have at least 33 pixels on the short side, as enlarged ones hold no more "
        "than before, but stripes is 48x32. Leave it out, or that side."
    ):
        at_short_side(stripes, 33, "stripes")


def once() -> Iterator[tuple[str, Tensor]]:
    yield from squares()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pictures": []}, "`pictures` must hold at least one picture, but is empty."),
        (
            {"pictures": once()},
            "`pictures` must be readable more than once, for every tokenizer and scale, but is a "
            "generator, which is read once. Pass a list.",
        ),
        (
            {"short_sides": (0, 8)},
            "`short_sides` must hold numbers of pixels of at least 1, but are (0, 8). "
            "Pass (128, 256), say.",
        ),
        (
            {"short_sides": (128,)},
            "Pictures must have at least 128 pixels on the short side, as enlarged ones hold no "
            "more than before, but p0 is 64x64. Leave it out, or that side.",
        ),
        (
            {"levels": ()},
            "`levels` must be counts of at least 1, but are (). Leave them out for all.",
        ),
    ],
)
def test_comparisons_that_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    with error(message):
        compared({"a": Offset()}, **changes)


def test_there_must_be_a_tokenizer() -> None:
    with error("`tokenizers` must hold at least one, but is empty. Pass {name: it}."):
        compared({})


def test_pairs_that_were_not_measured() -> None:
    found = compared({"a": Offset()}, short_sides=(16, 32))
    with error(
        "`tokenizer` must be one of a and `short_side` one of 16, 32, which were measured, but "
        "are 'b' and 16. Compare them too."
    ):
        found.at("b", 16)
