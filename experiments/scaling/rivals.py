"""The couplings of Figure 1 on the same blocks and data: DCS, vanilla, and a fixed capacity.

At 128 px all three have 8 x 8 patches and 16 channels (16 x 16 patches at the paper's 256 px). A
vanilla tokenizer keeps the size of a patch, so that its tokens grow with the pixels; a fixed
capacity keeps their number, and has one level.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors.torch import save

from dcs_common.atomic_file import write_atomically
from dcs_eval.comparison.scaling import change_per_doubling
from dcs_eval.comparison.tokenizers import compare_tokenizers
from dcs_eval.mean_interval import MeanInterval
from dcs_tok import DCSTok
from dcs_tok.config import dcs_tok_b
from dcs_tok.data import ScaleConfig
from dcs_tok.klt import fit_linear_path
from dcs_tok.training.recipe import Recipe
from dcs_tok.training.recipes import nano_dcs, nano_fixed, nano_vanilla, stage_1
from launching import Context
from scaling.samples import samples
from sources.photos import TRAIN, photo_paths
from systems.tokenizer_runs import run_tokenizer

RIVALS = {"dcs": "DCS", "vanilla": "vanilla", "fixed": "fixed capacity"}
_NANO = {"dcs": nano_dcs, "vanilla": nano_vanilla, "fixed": nano_fixed}
PAPER_SIDES = (128, 192, 256, 384, 512)


def tiny_rival(kind: str, seed: int, steps: int) -> Recipe:
    """Return the nano recipe of a rival, shortened, of one canonical frame as no clip is shown."""
    recipe = _NANO[kind]()
    canonical = recipe.model.canonical
    assert canonical is not None, "the small rivals have a linear path"
    model = replace(recipe.model, canonical=replace(canonical, frames=1))
    training = replace(
        recipe.training, steps=steps, seed=seed, checkpoint_every=50, log_every=10, ema_decay=0.95
    )
    return replace(recipe, model=model, training=training)


def paper_rival(kind: str, seed: int) -> Recipe:
    """Return a rival at the paper's size: Table 4's first stage over scales, without asymmetry.

    A vanilla tokenizer's grid belongs to one scale, so that input and target cannot differ.
    """
    base, model = stage_1(), dcs_tok_b()
    patch_pixels = 16 if kind == "vanilla" else None
    if kind != "dcs":
        model = replace(model, num_levels=1, patch_pixels=patch_pixels)
    return replace(
        base,
        name=f"{kind} (paper's size)",
        model=model,
        scales=ScaleConfig(short_sides=PAPER_SIDES, patch_pixels=patch_pixels),
        training=replace(base.training, seed=seed),
    )


def rival(preset: str, kind: str, seed: int, steps: int) -> Recipe:
    """Return the recipe of a preset."""
    if preset == "tiny":
        return tiny_rival(kind, seed, steps)
    recipe = paper_rival(kind, seed)
    return replace(recipe, training=replace(recipe.training, steps=steps))


def train_rival(
    context: Context, *, preset: str, kind: str, seed: int, steps: int, data: Sequence[str]
) -> dict[str, Any]:
    """Train one rival; the small ones start from the linear path of their own patches."""
    recipe = rival(preset, kind, seed, steps)
    sources = tuple(map(Path, data)) or photo_paths(context.options, context.run / "photos")[0]
    start = None
    if preset == "tiny":
        start = _linear_path(context.folder / "linear.safetensors", recipe, sources)
    folder = context.folder / "run"
    run_tokenizer(context, recipe, folder, data=sources, init_from=start)
    return {"model": str((folder / "model").relative_to(context.run))}


def compare_rivals(
    context: Context, *, seeds: int, sides: Sequence[int], levels: Sequence[int], most: int
) -> dict[str, Any]:
    """Measure all rivals at all sides, on photos that were trained on and on others.

    Returns:
        ``held out``, the names of the others, and ``rivals``: by rival and level count, ``tokens``
        and ``psnr`` by side and sample, means over seeds.
    """
    pictures = [(one.name, one.pixels) for one in samples(context.options, most=most)]
    is_known = not context.options.held_out
    others = [name for name, _ in pictures if not (is_known and name in TRAIN)]
    found: dict[str, Any] = {}
    for kind in RIVALS:
        comparisons = []
        for seed in range(seeds):
            folder = context.folder_of(f"train-{kind}-seed-{seed}") / "run" / "model"
            tok = DCSTok.from_pretrained(folder).to(context.device)
            on_device = [(name, pixels.to(context.device)) for name, pixels in pictures]
            comparisons.append(
                compare_tokenizers({kind: tok}, on_device, short_sides=sides, levels=levels)
            )
        found[kind] = {
            str(count): {
                str(side): {
                    "tokens": comparisons[0].at(kind, side).mean_tokens(count),
                    "psnr": _mean_by_picture(
                        [one.at(kind, side).report.per_picture(count) for one in comparisons]
                    ),
                }
                for side in sides
            }
            for count in comparisons[0].at(kind, sides[0]).levels
        }
    return {"held out": others, "rivals": found}


def of_photos(comparison: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return what :func:`compare_rivals` found of its rivals, of some photos alone."""
    return {
        kind: {
            levels: {
                side: one | {"psnr": {name: one["psnr"][name] for name in names}}
                for side, one in at_sides.items()
            }
            for levels, at_sides in at_levels.items()
        }
        for kind, at_levels in comparison["rivals"].items()
    }


def trained_on(comparison: Mapping[str, Any]) -> list[str]:
    """Return the names of measured photos that the rivals were trained on."""
    (one, *_) = comparison["rivals"]["fixed"]["1"].values()
    return [name for name in one["psnr"] if name not in comparison["held out"]]


def per_doubling(at_sides: Mapping[str, Any]) -> MeanInterval | None:
    """Return the dB that a doubling of the side brings, of one rival at one level count."""
    return change_per_doubling({int(side): one["psnr"] for side, one in at_sides.items()})


def _mean_by_picture(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(one[name] for one in values) for name in values[0]}


def _linear_path(path: Path, recipe: Recipe, sources: Sequence[Path]) -> Path:
    if not path.exists():
        model = recipe.model
        assert model.canonical is not None, "the small rivals have a linear path"
        tensors = fit_linear_path(
            sources,
            (),
            frames=model.canonical.frames,
            grid=model.canonical.grid,
            segments_per_second=model.segments_per_second,
            levels=model.num_levels,
            level_size=model.latent_channels,
            patch_pixels=model.patch_pixels,
        )
        write_atomically(path, save(tensors))
    return path
