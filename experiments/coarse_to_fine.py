"""Figures 5 and 10: generation level by level, at the price of all levels at once.

    python experiments/coarse_to_fine.py
    python experiments/coarse_to_fine.py --preset paper

Both ways are run in turn, with the keys and values of finished levels on the device, on the CPU, or
computed again, and compared in FLOPs, time, results, and the time until the first preview.
"""

from collections.abc import Sequence
from typing import Any

import torch

from costs.paper_scale import MODELS, PAPER_GENERATOR, PAPER_TOKENIZER
from dcs_dit import sample_progressive
from dcs_dit.sampling.memory import KINDS, CacheKind, cache_bytes
from dcs_dit.sampling.request import make_request
from launching import Context, Experiment, Options, Resources, Stage, main
from reports.coarse_to_fine import report
from scaling.generation_cost import counted_flops, joint_flops, joint_run, progressive_run
from scaling.models import GENERATION_TOKENIZER, GENERATOR, load_generator, load_tokenizer

__all__ = ["EXPERIMENT", "measure_cost", "preview", "report"]

TINY_GRIDS = (((4, 4), 6, 4, 5), ((16, 16), 4, 2, 2))
PAPER_GRIDS = (((16, 16), 4, 8, 50),)
"""Grid, levels, samples and steps; ratios do not depend on the number of steps."""
REPEATS, PAPER_REPEATS = 5, 20
PREVIEW_STEPS = 50


def measure_cost(
    context: Context,
    *,
    model: str,
    grid: Sequence[int],
    levels: int,
    samples: int,
    steps: int,
    repeats: int,
    cache: CacheKind,
) -> dict[str, Any]:
    """Time both ways in turn, count their FLOPs and compare their results."""
    dit = load_generator(model, context.device)
    asked: dict[str, Any] = {
        "grid": tuple(grid),
        "levels": levels,
        "steps": steps,
        "seeds": list(range(samples)),
    }
    if dit.config.labels:
        asked["labels"] = [i % len(dit.config.labels) for i in range(samples)]
    request = make_request(dit, **asked)
    joint, fine = joint_run(dit, asked), progressive_run(dit, asked, cache)  # and a warm-up
    rounds = [
        (progressive_run(dit, asked, cache).seconds, joint_run(dit, asked).seconds[0])
        for _ in range(repeats)
    ]
    held = 0 if cache == "recompute" else cache_bytes(dit.config, request, 4)
    return {
        "cache": cache,
        "grid": list(grid),
        "levels": levels,
        "samples": samples,
        "steps": steps,
        "seconds": [[list(levels_done), whole] for levels_done, whole in rounds],
        "flops": {
            "joint": counted_flops(lambda: joint_run(dit, asked)),
            "progressive": counted_flops(lambda: progressive_run(dit, asked, cache)),
            "joint, from matrices": joint_flops(dit, request),
        },
        "difference": float((joint.tokens - fine.tokens).abs().max()),
        "deviation": float(joint.tokens.std()),
        "cache MiB": held / 2**20,
    }


@torch.no_grad()
def preview(
    context: Context, *, generator: str, tokenizer: str, labels: Sequence[int], steps: int
) -> dict[str, Any]:
    """Sample some classes coarse to fine, and decode every preview."""
    dit = load_generator(generator, context.device)
    tok = load_tokenizer(tokenizer, context.device)
    asked: dict[str, Any] = {"labels": list(labels)} if dit.config.labels else {}
    shown = [
        tok.decode(step.latents).mul(255).round().byte().cpu()
        for step in sample_progressive(dit, steps=steps, seeds=list(range(len(labels))), **asked)
    ]
    torch.save(torch.stack(shown), context.folder / "previews.pt")
    names = [dit.config.labels[i] for i in labels] if dit.config.labels else []
    return {"labels": names, "levels": len(shown)}


# ---------------------------------------------------------------------- presets


def tiny_stages(options: Options) -> list[Stage]:
    """The generator that ships, on its own grid and on the paper's; a minute or two."""
    models = (GENERATOR, GENERATION_TOKENIZER)
    return _stages(models, TINY_GRIDS, REPEATS, range(10), Resources(memory_gb=4))


def paper_stages(options: Options) -> list[Stage]:
    """DCS-DiT-XL of Table 5 on one GPU."""
    models = (PAPER_GENERATOR, PAPER_TOKENIZER)
    return _stages(models, PAPER_GRIDS, PAPER_REPEATS, range(0, 1000, 100), MODELS)


def _stages(
    models: tuple[str, str],
    settings: Sequence[tuple[tuple[int, int], int, int, int]],
    repeats: int,
    labels: Sequence[int],
    resources: Resources,
) -> list[Stage]:
    generator, tokenizer = models
    costs = [
        Stage(
            name=f"cost-{grid[0]}x{grid[1]}-{cache}",
            function="coarse_to_fine:measure_cost",
            arguments={
                "model": generator,
                "grid": list(grid),
                "levels": levels,
                "samples": samples,
                "steps": steps,
                "repeats": repeats,
                "cache": cache,
            },
            resources=resources,
        )
        for grid, levels, samples, steps in settings
        for cache in KINDS
    ]
    previews = Stage(
        name="previews",
        function="coarse_to_fine:preview",
        arguments={
            "generator": generator,
            "tokenizer": tokenizer,
            "labels": list(labels),
            "steps": PREVIEW_STEPS,
        },
        resources=resources,
    )
    return [*costs, previews]


def _plan(options: Options) -> str:
    tiny = options.preset == "tiny"
    return (
        f"Nothing is trained: {GENERATOR if tiny else PAPER_GENERATOR} samples in both ways, "
        f"{REPEATS if tiny else PAPER_REPEATS} times for each of {len(KINDS)} caches. Minutes on "
        f"{'one CPU core, 4 GB' if tiny else 'one GPU, 80 GB'} of memory."
    )


EXPERIMENT = Experiment(
    name="coarse_to_fine",
    title="Figures 5 and 10: generation level by level",
    paper=(
        "Keys and values of finished levels are cached, which keeps the cost of progressive "
        "generation identical to that of all levels at once; previews of 1 to 4 levels show ever "
        "more detail. Pictures and an argument, no times."
    ),
    presets={"tiny": tiny_stages, "paper": paper_stages},
    plans={"tiny": _plan, "paper": _plan},
    report="coarse_to_fine:report",
)

if __name__ == "__main__":
    main(EXPERIMENT)
