"""`evaluate_reconstruction` with tokenizers whose PSNR is known by hand."""

import json
from collections.abc import Iterable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dcs_common.resample import resize
from dcs_eval import Reconstruction, ReconstructionReport, evaluate_reconstruction


@dataclass
class PoolingTokenizer:
    """Level i adds what a grid of 3 * 2^i cells a side knows beyond the levels before it."""

    num_levels: int = 4

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(num_levels=self.num_levels)

    def encode(self, pixels: Tensor, *, levels: int) -> list[Tensor]:
        latents: list[Tensor] = []
        rest = pixels
        for level in range(levels):
            latents.append(adaptive_avg_pool2d(rest, 3 * 2**level))
            rest = rest - resize(latents[-1], tuple(pixels.shape[-2:]))
        return latents

    def decode(self, latents: list[Tensor], *, size: tuple[int, int], levels: int) -> Tensor:
        return sum(resize(latent, size) for latent in latents[:levels])


class OffsetTokenizer(PoolingTokenizer):
    """Returns the source plus 10^-level at scale 1 and that plus 0.01 at any other."""

    def encode(self, pixels: Tensor, *, levels: int) -> Tensor:
        return pixels

    def decode(self, latents: Tensor, *, size: tuple[int, int], levels: int) -> Tensor:
        moved = 0.01 if size != tuple(latents.shape[-2:]) else 0.0
        return resize(latents, size) + 10.0**-levels + moved


def smooth_pictures(count: int = 2) -> Iterable[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    for index in range(count):
        coarse = torch.rand(1, 3, 7, 11, generator=generator)
        yield f"picture-{index}", resize(coarse, (61, 83))


def test_psnr_is_the_one_computed_by_hand() -> None:
    flat = torch.full((1, 3, 13, 17), 0.25)
    report = evaluate_reconstruction(OffsetTokenizer(), [("flat", flat)], scales=(1.0, 2.0))
    assert [report.mean(levels) for levels in (1, 2, 3)] == pytest.approx([20, 40, 60], abs=1e-3)
    assert report.mean(2, scale=2.0) == pytest.approx(40, abs=1e-3)


def test_decodes_are_clamped() -> None:
    white = torch.ones(1, 3, 5, 7)
    report = evaluate_reconstruction(OffsetTokenizer(), [("white", white)], levels=1)
    assert report.mean(1) == float("inf")


def test_more_levels_bring_every_picture_closer() -> None:
    report = evaluate_reconstruction(PoolingTokenizer(), smooth_pictures())
    for name in ("picture-0", "picture-1"):
        values = [report.per_picture(levels)[name] for levels in (1, 2, 3, 4)]
        assert values == sorted(values)
        assert values[-1] > values[0] + 3
    expected = (report.per_picture(3)["picture-0"] + report.per_picture(3)["picture-1"]) / 2
    assert report.mean(3) == pytest.approx(expected)


def test_scale_consistency_does_not_look_at_the_source() -> None:
    """A coarse grid agrees with itself at other scales, however little it keeps."""
    report = evaluate_reconstruction(
        PoolingTokenizer(), smooth_pictures(), levels=(1, 2), scales=(1.0, 0.5, 2.0)
    )
    assert report.mean(1) < 25
    assert report.mean(1, scale=2.0) > 45
    assert report.mean(1, scale=0.5) > 30


def test_pictures_are_encoded_once_with_the_most_levels() -> None:
    class Counting(PoolingTokenizer):
        calls: tuple[int, ...] = ()

        def encode(self, pixels: Tensor, *, levels: int) -> list[Tensor]:
            self.calls += (levels,)
            return super().encode(pixels, levels=levels)

    tokenizer = Counting()
    evaluate_reconstruction(tokenizer, smooth_pictures(), levels=[3, 1], scales=(1, 2))
    assert tokenizer.calls == (3, 3)


def test_table_is_markdown() -> None:
    flat = torch.full((1, 3, 13, 17), 0.25)
    pictures = [("flat", flat), ("grey", flat * 2)]
    report = evaluate_reconstruction(OffsetTokenizer(), pictures, levels=(1, 2), scales=(1.0, 0.5))
    assert report.table().splitlines() == [
        "| picture | levels | PSNR, dB | agreement at 0.5x, dB |",
        "| --- | ---: | ---: | ---: |",
        "| mean | 1 | 20.00 ± 0.00 | 40.00 ± 0.00 |",
        "| mean | 2 | 40.00 ± 0.00 | 40.00 ± 0.00 |",
    ]
    assert report.table(pictures=True).splitlines()[4:] == [
        "| flat | 1 | 20.00 | 40.00 |",
        "| flat | 2 | 40.00 | 40.00 |",
        "| grey | 1 | 20.00 | 40.00 |",
        "| grey | 2 | 40.00 | 40.00 |",
    ]


def mean_difference(picture: Tensor, reference: Tensor) -> float:
    """A comparison that depends on the order: the reference comes second."""
    return float((picture - reference).mean())


def test_other_metrics_compare_the_same_pairs() -> None:
    grey = torch.full((1, 3, 13, 17), 0.25)
    report = evaluate_reconstruction(
        OffsetTokenizer(),
        [("grey", grey)],
        levels=(1, 2),
        scales=(1.0, 2.0),
        lpips=mean_difference,
    )
    assert report.metrics == ("psnr", "lpips")
    assert report.mean(2, metric="lpips") == pytest.approx(0.01, abs=1e-6)
    assert report.mean(1, 2.0, "lpips") == pytest.approx(0.01, abs=1e-6)
    assert report.interval(1).half_width is None
    assert report.table().splitlines()[0] == (
        "| picture | levels | PSNR, dB | LPIPS | agreement at 2x, dB | LPIPS at 2x |"
    )
    with pytest.raises(ValueError) as caught:
        report.mean(1, metric="ssim")
    assert str(caught.value) == (
        "`metric` must be one of psnr, lpips, which were measured, but is 'ssim'. "
        "Pass it to the evaluation."
    )


def test_intervals_are_over_pictures() -> None:
    rows = tuple(
        Reconstruction(picture=str(value), levels=1, scale=1.0, psnr=value)
        for value in (1.0, 2.0, 3.0)
    )
    found = ReconstructionReport(rows=rows).interval(1)
    assert (found.mean, found.half_width) == (2, pytest.approx(2.484, abs=1e-3))


def test_the_file_is_strict_json(tmp_path: Path) -> None:
    white = torch.ones(1, 3, 5, 7)
    report = evaluate_reconstruction(OffsetTokenizer(), [("white", white)], levels=1)
    report.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail) == {
        "format": 1,
        "rows": [
            {
                "picture": "white",
                "levels": 1,
                "scale": 1.0,
                "psnr": None,
                "ssim": None,
                "lpips": None,
                "fps": None,
            }
        ],
    }


def test_report_is_frozen() -> None:
    row = Reconstruction(picture="a", levels=1, scale=1.0, psnr=30.0)
    report = ReconstructionReport(rows=(row,))
    with pytest.raises(FrozenInstanceError):
        report.rows = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"levels": 5},
            "`levels` must be between 1 and 4, but is 5. This tokenizer has 4 levels.",
        ),
        (
            {"levels": (1, 0)},
            "`levels` must be between 1 and 4, but is (1, 0). This tokenizer has 4 levels.",
        ),
        (
            {"scales": (1.0, -2.0)},
            "`scales` must hold positive factors, but is (1.0, -2.0). Pass (1.0,) for PSNR.",
        ),
        (
            {"scales": (float("nan"),)},
            "`scales` must hold positive factors, but is (nan,). Pass (1.0,) for PSNR.",
        ),
        ({"pictures": []}, "`pictures` must hold at least one picture, but is empty."),
        (
            {"pictures": [("grey", torch.zeros(1, 1, 8, 8))]},
            "Each picture must be a float tensor (1, 3, H, W) in [0, 1], but 'grey' is "
            "torch.float32 (1, 1, 8, 8). Pass RGB, one picture at a time.",
        ),
        (
            {"pictures": [("a", torch.full((1, 3, 9, 9), 255.0))]},
            "Pictures must lie in [0, 1], but 'a' has values from 255 to 255. Clamp or rescale "
            "them.",
        ),
        (
            {"pictures": [("a", torch.full((1, 3, 9, 9), float("nan")))]},
            "Pictures must lie in [0, 1], but 'a' has values from nan to nan. Clamp or rescale "
            "them.",
        ),
        (
            {"pictures": [("a", torch.zeros(1, 3, 9, 9)), ("a", torch.zeros(1, 3, 9, 9))]},
            "Each picture must have a name of its own, but 'a' came twice. Rename one.",
        ),
    ],
)
def test_errors_teach(change: dict[str, object], message: str) -> None:
    arguments = {"pictures": smooth_pictures(1), **change}
    with pytest.raises(ValueError) as caught:
        evaluate_reconstruction(PoolingTokenizer(), **arguments)
    assert str(caught.value) == message


def test_unknown_pair_lists_what_was_evaluated() -> None:
    report = evaluate_reconstruction(PoolingTokenizer(), smooth_pictures(1), levels=2)
    with pytest.raises(ValueError) as caught:
        report.mean(3)
    assert str(caught.value) == (
        "`levels` and `scale` must be a pair that was evaluated, but are 3 and 1. "
        "Evaluated: [(2, 1.0)]."
    )


class Overflowing(PoolingTokenizer):
    """Decodes a number that is none at level 2 and beyond."""

    def decode(self, latents: list[Tensor], *, size: tuple[int, int], levels: int) -> Tensor:
        pixels = super().decode(latents, size=size, levels=levels)
        if levels >= 2:
            pixels[0, 0, 0, 0] = float("inf")
        return pixels


def test_what_is_not_finite_is_no_quality() -> None:
    """Clamping would have made a white pixel of it, and of NaN a gap in the JSON file."""
    assert evaluate_reconstruction(Overflowing(), smooth_pictures(1), levels=1).mean(1) > 0
    name, pixels = next(iter(smooth_pictures(1)))
    with pytest.raises(ValueError) as caught:
        evaluate_reconstruction(Overflowing(), [(name, pixels)], levels=(1, 2))
    assert str(caught.value) == (
        f"A tokenizer must decode to finite numbers, but 1 of {pixels.numel()} of {name} at 2 "
        "levels are not. Check its weights, or compute in float32."
    )


def test_a_level_count_or_scale_named_twice_is_measured_once() -> None:
    report = evaluate_reconstruction(
        PoolingTokenizer(), smooth_pictures(1), levels=(2, 2, 1), scales=(1.0, 1.0)
    )
    assert [row.levels for row in report.rows] == [2, 1]
