"""Tables, maps and verdicts of ``ablation_token_drop.py``."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from launching import Context
from records import Claim, Picture, Plot, Report, Table
from scaling.sheet import column, row
from systems.spread import over_seeds, verdict

NAMES = {"drop": "tokens dropped", "keep": "all kept"}

Found = Mapping[str, Mapping[str, Any]]


def report(context: Context) -> Report:
    """Compare the two runs."""
    seeds: list[Found] = [
        context.result(f"measure-seed-{seed}") for seed in range(context.options.seeds)
    ]
    levels = len(seeds[0]["drop"]["psnr"])
    rows = tuple(
        (name, *(over_seeds(v) for v in zip(*(s[mode]["psnr"] for s in seeds), strict=True)))
        for mode, name in NAMES.items()
    )
    numbers = tuple(
        (
            name,
            *(_shown(seeds, mode, what) for what in ("at work", "overlap", "complexity")),
        )
        for mode, name in NAMES.items()
    )
    return Report(
        tables=(
            Table(
                title="PSNR by levels kept, dB, held-out crops",
                columns=("training", *(str(level) for level in range(1, levels + 1))),
                rows=rows,
                note="The paper shows maps and gives no figures.",
            ),
            Table(
                title="What the maps show",
                columns=(
                    "training",
                    "levels at work",
                    "overlap of levels",
                    "complexity and gain, r",
                ),
                rows=numbers,
                note="Levels at work: 1 if one changes the picture alone, as many as there are if "
                "all change it alike. Overlap: 1 if all change the same places, 0 if each changes "
                "its own. Gain: the fall of a patch's distortion from one level to all.",
            ),
        ),
        claims=claims(seeds),
        plots=(
            Plot(
                name="psnr",
                figure=_figure(seeds),
                caption="PSNR by levels kept; a line for each seed.",
            ),
        ),
        pictures=tuple(_maps(context, mode) for mode in NAMES),
    )


def claims(seeds: Sequence[Found]) -> tuple[Claim, ...]:
    """Return the verdicts on Fig. 15."""
    first = [s["drop"]["psnr"][0] - s["keep"]["psnr"][0] for s in seeds]
    rises = [_rises(s["drop"]["psnr"]) for s in seeds]
    more = [s["keep"]["at work"] - s["drop"]["at work"] for s in seeds]
    complexity = _of(seeds, "drop", "complexity")
    return (
        Claim(
            key="dropping-orders-levels",
            statement="With tokens dropped, level 1 holds the whole picture and each level adds; "
            "without, a prefix of levels is no picture",
            source="Fig. 15; Sec. 7.1",
            paper="maps",
            ours=f"level 1 alone is {over_seeds(first)} dB better; PSNR rises with "
            f"{min(rises)} of {len(seeds[0]['drop']['psnr']) - 1} levels",
            verdict=verdict(first, 0),
        ),
        Claim(
            key="dropping-orders-levels",
            statement="Without dropping, levels divide the picture among them",
            source="Fig. 15a; Sec. 7.1",
            paper="horizontal bands",
            ours=f"the work of {_shown(seeds, 'keep', 'at work')} levels without, of "
            f"{_shown(seeds, 'drop', 'at work')} with dropping (overlap of places "
            f"{_shown(seeds, 'keep', 'overlap')} and {_shown(seeds, 'drop', 'overlap')})",
            verdict=verdict(more, 0),
        ),
        Claim(
            key="detail-where-complex",
            statement="Higher levels improve the complex regions most",
            source="Fig. 15b; Sec. 7.1",
            paper="maps",
            ours=f"r = {over_seeds(complexity)} of gradient and gain over patches",
            verdict=verdict(complexity, 0),
        ),
    )


def _of(seeds: Sequence[Found], mode: str, what: str) -> list[float]:
    return [found[mode][what] for found in seeds]


def _shown(seeds: Sequence[Found], mode: str, what: str) -> str:
    return over_seeds(_of(seeds, mode, what))


def _rises(values: Sequence[float]) -> int:
    return sum(b > a for a, b in pairwise(values))


def _figure(seeds: Sequence[Found]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for i, (mode, name) in enumerate(NAMES.items()):
        for j, found in enumerate(seeds):
            values = found[mode]["psnr"]
            axes.plot(
                range(1, len(values) + 1), values, color=f"C{i}", label=name if j == 0 else None
            )
    axes.set(xlabel="levels kept", ylabel="PSNR, dB")
    axes.legend()
    return figure


def _maps(context: Context, mode: str) -> Picture:
    """Return a sheet: reconstruction, residual and distortion (rows) by levels (columns)."""
    folder = context.folder_of("measure-seed-0")
    shown = torch.load(folder / f"{mode}.pt", weights_only=True)
    source = torch.load(folder / "source.pt", weights_only=True)
    decoded, distortion, residual = shown
    reconstructions = row([row(list(decoded), gap=0), source])
    maps = [row(list(_heat(found)), gap=0) for found in (residual, distortion)]
    return Picture(
        name=f"maps-{mode}",
        pixels=column([reconstructions, *maps], gap=0),
        caption=f"{NAMES[mode].capitalize()}: a held-out crop from 1 to {len(decoded)} levels and "
        "its source; what each level changes; what is still wrong (both maps 4 times amplified).",
    )


def _heat(maps: Tensor) -> Tensor:
    """Return differences (n, 3, H, W) as dark on white, 4 times amplified."""
    return (1 - 4 * maps[:, :1]).clamp(0, 1).expand(-1, 3, -1, -1)
