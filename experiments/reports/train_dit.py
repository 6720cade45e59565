"""Tables, plots and the verdict of ``train_dit.py``."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcs_dit.training.recipe import Recipe
from launching import Context
from records import Claim, Picture, Plot, Report, Table
from systems.generator_stages import paper_generator, small_generator
from systems.sample_measures import sample_sheet
from systems.spread import over_seeds, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Measures = Mapping[str, Any]
"""What ``measure`` returned of a seed."""

SETTINGS = {
    "paper": "the paper's: 50 steps, guidance 6 from 0.1",
    "unguided": "without guidance",
    "guidance-2": "guidance 2",
    "always-guided": "guidance from 0",
    "10-steps": "10 steps",
}


def report(context: Context) -> Report:
    """Say what was learned and what each setting of sampling does."""
    seeds = range(context.options.seeds)
    measures = [context.result(f"measure-seed-{seed}") for seed in seeds]
    logs = [read_scalars(context, run_name(seed)) for seed in seeds]
    is_tiny = context.options.preset == "tiny"
    levels = len(measures[0]["samples"]["paper-seed-0"])
    return Report(
        tables=(
            distances_table(measures, SETTINGS),
            recognised_table(measures, SETTINGS),
            losses_table(logs),
            settings_table(logs[0]),
        ),
        claims=(guidance_claim(measures),),
        plots=(training_plot(logs),),
        pictures=tuple(
            Picture(
                name=f"samples-{setting}",
                pixels=sample_sheet(context.run / "samples" / f"{setting}-seed-0", levels, 6),
                caption=f"Samples of {levels} levels, a class in each row: {SETTINGS[setting]}.",
            )
            for setting in ("paper", "unguided")
        ),
        notes=_notes(measures[0]) if is_tiny else (),
    )


def run_name(seed: int) -> str:
    """Return a run's name."""
    return "train" if seed == 0 else f"train-seed-{seed}"


def _notes(measures: Measures) -> tuple[str, ...]:
    return (
        "The small form: 96 channels, 4 blocks, 3 levels, latents of dcs-tok-nano-gen at 64 px. "
        "Its classes are photos, its samples crops of them; held-out crops overlap with those of "
        "training.",
        f"Distances are squared Fréchet distances on {measures['space']}, never FID: compare rows "
        "with one another only.",
    )


def guidance_claim(seeds: Sequence[Measures]) -> Claim:
    """Judge guidance by distance: with it samples lie nearer to held-out pictures."""
    found = {name: [_frechet(m, name, 1) for m in seeds] for name in _COMPARED}
    shares = {
        name: [m["samples"][name]["1"]["recognised"] for m in named(seeds)] for name in _COMPARED
    }
    parts = []
    for name, words in _COMPARED.items():
        said = f"{over_seeds(found[name], 3)} {words}"
        if all(share is not None for share in shares[name]):
            said += f" ({over_seeds([100 * share for share in shares[name]], 0)} % recognised)"
        parts.append(said)
    gains = [a - b for a, b in zip(found["unguided"], found["paper"], strict=True)]
    return Claim(
        statement="Guidance 6 brings samples of one level nearer to the data",
        source="Table 1",
        paper="gFID 7.68 without, 2.50 with guidance",
        ours=f"distance on {seeds[0]['space']} {', '.join(parts)}",
        verdict=verdict(gains, 0),
    )


_COMPARED = {"unguided": "without", "guidance-2": "with guidance 2", "paper": "with guidance 6"}


def named(seeds: Sequence[Measures]) -> list[dict[str, Any]]:
    """Return measures whose samples have their settings for names, without the seed."""
    return [
        {**m, "samples": {name.rpartition("-seed-")[0]: v for name, v in m["samples"].items()}}
        for m in seeds
    ]


def _frechet(measures: Measures, setting: str, level: int) -> float:
    (found,) = named([measures])
    value: float = found["samples"][setting][str(level)]["frechet"]
    return value


# ---------------------------------------------------------------------- tables


def distances_table(seeds: Sequence[Measures], settings: Mapping[str, str]) -> Table:
    """Return distances by level, a row for each of the settings, in their words."""
    (first,) = named(seeds[:1])
    levels = list(next(iter(first["samples"].values())))
    rows: list[tuple[str | None, ...]] = [
        (
            settings[setting],
            *(over_seeds([_frechet(m, setting, int(level)) for m in seeds], 3) for level in levels),
        )
        for setting in first["samples"]
    ]
    floor = over_seeds([m["real"]["frechet"] for m in seeds], 3) if first.get("real") else None
    rows.append(("as many training pictures", *([floor] * len(levels))))
    return Table(
        title=f"Squared Fréchet distance to held-out pictures, on {first['space']}",
        columns=("sampling", *(f"level {level}" for level in levels)),
        rows=tuple(rows),
        note=f"{first['count']} samples of each seed, {first['reference']} held-out pictures"
        + (f"; ± deviation of {len(seeds)} seeds." if len(seeds) > 1 else "."),
    )


def recognised_table(seeds: Sequence[Measures], settings: Mapping[str, str]) -> Table:
    """Return the shares that the probe takes for what was asked for, rows as above."""
    found = named(seeds)
    levels = list(next(iter(found[0]["samples"].values())))
    rows: list[tuple[str | None, ...]] = []
    for setting in found[0]["samples"]:
        cells = []
        for level in levels:
            shares = [m["samples"][setting][level]["recognised"] for m in found]
            is_known = all(share is not None for share in shares)
            cells.append(over_seeds([100 * share for share in shares], 0) if is_known else None)
        rows.append((settings[setting], *cells))
    real = found[0]["real"]["recognised"] if found[0].get("real") else None
    of_real = None if real is None else f"{100 * real:.0f}"
    rows.append(("held-out pictures", *([of_real] * len(levels))))
    return Table(
        title="Recognised as the class that was asked for, %",
        columns=("sampling", *(f"level {level}" for level in levels)),
        rows=tuple(rows),
        note="By a linear probe on the same features, trained on the training pictures.",
    )


def losses_table(logs: Sequence[Sequence[Mapping[str, float]]]) -> Table:
    """Return the error on held-out latents at three steps."""
    curves = [validation_curves(log) for log in logs]
    steps = sorted(curves[0][1])
    chosen = [steps[0], steps[len(steps) // 2], steps[-1]]
    rows = [
        (
            f"step {step}",
            *(over_seeds([curve[level][step] for curve in curves], 3) for level in curves[0]),
        )
        for step in chosen
    ]
    return Table(
        title="Squared error of the velocity on held-out latents, by level",
        columns=("after", *(f"level {level}" for level in curves[0])),
        rows=tuple(rows),
        note="Of normalised latents: 2 before anything is learned.",
    )


def settings_table(log: Sequence[Mapping[str, float]]) -> Table:
    """Return Table 5, with what was done here beside it."""
    paper = paper_generator(0)
    ours = small_generator(0, steps=round(log[-1]["step"]))
    rows = [
        (name, value(paper), value(ours))
        for name, value in (
            ("levels", lambda r: r.model.num_levels),
            ("width, blocks, heads", _sizes),
            ("levels of a sample", lambda r: f"{r.level_weights} probabilities"),
            ("times", lambda r: "logit-normal"),
            ("loss", lambda r: f"squared error + {r.direction_weight:g} x direction"),
            ("steps", lambda r: r.training.steps),
            ("batch", lambda r: r.training.batch_size),
            ("learning rate", _rates),
            ("average", lambda r: r.training.ema_decay),
            ("sampling", lambda r: "Euler, 50 steps, guidance 6 from 0.1, shift 1"),
        )
    ]
    return Table(title="Settings (Table 5)", columns=("setting", "paper", "ours"), rows=tuple(rows))


def _sizes(recipe: Recipe) -> str:
    return f"{recipe.model.width}, {recipe.model.blocks}, {recipe.model.heads}"


def _rates(recipe: Recipe) -> str:
    optimizer = recipe.training.optimizer
    matrices = optimizer.matrix_learning_rate
    return f"{optimizer.learning_rate:g}" + (f", matrices {matrices:g} (Muon)" if matrices else "")


# ---------------------------------------------------------------------- curves


def read_scalars(context: Context, run: str) -> list[dict[str, float]]:
    """Return the lines of a run's log."""
    path = context.folder_of(run) / "run" / "scalars.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def validation_curves(log: Sequence[Mapping[str, float]]) -> dict[int, dict[int, float]]:
    """Return the held-out error of every level by step."""
    prefix = "validation/squared_level_"
    curves: dict[int, dict[int, float]] = {}
    for line in log:
        for name, value in line.items():
            if name.startswith(prefix):
                curves.setdefault(int(name.removeprefix(prefix)), {})[int(line["step"])] = value
    return dict(sorted(curves.items()))


def training_plot(logs: Sequence[Sequence[Mapping[str, float]]]) -> Plot:
    """Return the curves of every seed's run."""
    return Plot(
        name="training",
        figure=_figure(logs),
        caption="Loss of training, and squared error of each level on held-out latents, by steps.",
    )


def _figure(logs: Sequence[Sequence[Mapping[str, float]]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for j, log in enumerate(logs):
        losses = [(line["step"], line["loss/generator"]) for line in log if _has_loss(line)]
        left.plot(*zip(*losses, strict=True), color="C0", alpha=1 - 0.5 * min(j, 1))
        _levels(right, validation_curves(log), is_first=j == 0)
    left.set(xlabel="step", ylabel="loss of training")
    right.set(xlabel="step", ylabel="squared error, held-out")
    right.legend(fontsize=8)
    return figure


def _has_loss(line: Mapping[str, float]) -> bool:
    return "loss/generator" in line


def _levels(axes: "Axes", curves: Mapping[int, Mapping[int, float]], *, is_first: bool) -> None:
    for i, (level, curve) in enumerate(curves.items()):
        label = f"level {level}" if is_first else None
        axes.plot(list(curve), list(curve.values()), color=f"C{i}", label=label)
