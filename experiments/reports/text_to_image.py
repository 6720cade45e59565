"""Tables, a sheet and the verdict of ``text_to_image.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from dcs_eval.pictures import spread
from dcs_tok.pictures import read_picture
from launching import Context
from records import Claim, Picture, Report, Table
from reports.train_dit import (
    Measures,
    distances_table,
    losses_table,
    named,
    read_scalars,
    recognised_table,
    run_name,
    settings_table,
    training_plot,
)
from systems.caption_data import FROM_DATA, prompts
from systems.photo_captions import TRAINED, UNSEEN
from systems.sampling_stages import samples_of
from systems.sheets import sheet, with_caption
from systems.small_text_encoder import LAYERS, WIDTH
from systems.spread import over_seeds, verdict

CAPTIONS = {
    "trained": "wordings of training",
    "unseen": "a wording never trained on",
    FROM_DATA: "captions held out",
}
SAMPLING = {"paper": "guidance 6 from 0.1", "unguided": "without guidance"}
SETTINGS = {f"{a}-{b}": f"{CAPTIONS[a]}, {SAMPLING[b]}" for a in CAPTIONS for b in SAMPLING}
SHOWN = 4
"""Samples of a caption; of captions that come with data as many again are shown."""


def report(context: Context) -> Report:
    """Say whether captions guide, and show what they give."""
    seeds = range(context.options.seeds)
    measures = [context.result(f"measure-seed-{seed}") for seed in seeds]
    logs = [read_scalars(context, run_name(seed)) for seed in seeds]
    of_photos = not context.options.data
    fits = _recognised(measures) if of_photos else _matched(measures)
    return Report(
        tables=(
            fits,
            distances_table(measures, SETTINGS),
            losses_table(logs),
            *((settings_table(logs[0]), text_table()) if of_photos else ()),
        ),
        claims=(caption_claim(measures),),
        plots=(training_plot(logs),),
        pictures=(_sheet_of_photos(context) if of_photos else _sheet_of_data(context),),
        notes=_notes(measures[0]) if of_photos else (),
    )


def _notes(measures: Measures) -> tuple[str, ...]:
    return (
        "The small form: the generator of train_dit with cross-attention in place of classes. Its "
        "captions name photos, its samples are crops of them; held-out crops overlap with those "
        "of training.",
        "The text encoder is drawn at random and never trained: it tells words apart, and knows "
        "no synonyms. A wording never trained on has the nouns of the others in another "
        "sentence, with words that training never met. There is one for each photo, so that its "
        "share depends on ten captions.",
        f"Distances are squared Fréchet distances on {measures['space']}, never FID.",
    )


# ---------------------------------------------------------------------- the claim


def caption_claim(seeds: Sequence[Measures]) -> Claim:
    """Judge captions, at all levels and with the paper's sampling, against chance.

    By the share of samples that a probe takes for what the caption names; where there are no
    classes, by the share of pairs in which a sample is nearer to its own caption's picture.
    """
    kinds = {name: _shares(seeds, f"{name}-paper") for name in CAPTIONS}
    kinds = {name: shares for name, shares in kinds.items() if shares}
    first, chance = next(iter(kinds)), _chance(seeds[0])
    if first == FROM_DATA:
        what = "% of pairs nearer to the own caption's picture than to another's"
    else:
        what = "% of samples recognised as what their caption names"
    parts = [f"{over_seeds(kinds[first], 0)} {what} (chance {chance:.0f})"]
    parts += [
        f"{over_seeds(shares, 0)} by {CAPTIONS[name]}"
        for name, shares in kinds.items()
        if name != first
    ]
    if seeds[0].get("real"):
        parts.append(f"held-out pictures {100 * seeds[0]['real']['recognised']:.0f}")
    return Claim.answering(
        "captions-guide", ours="; ".join(parts), verdict=verdict(kinds[first], chance)
    )


def _shares(seeds: Sequence[Measures], setting: str) -> list[float]:
    """Return the share of every seed at all levels, in %; empty where there are no such samples."""
    found = [m["samples"].get(setting) for m in named(seeds)]
    return [100 * _share(list(levels.values())[-1]) for levels in found if levels is not None]


def _share(values: Mapping[str, float]) -> float:
    return values["matched"] if "matched" in values else values["recognised"]


def _chance(measures: Measures) -> float:
    """Return what captions that decide nothing would give, in %."""
    of_data = any(name.startswith(f"{FROM_DATA}-") for name in measures["samples"])
    return 50.0 if of_data else 100 / len(TRAINED)


# ---------------------------------------------------------------------- tables


def _recognised(seeds: Sequence[Measures]) -> Table:
    table = recognised_table(seeds, SETTINGS)
    chance = ("chance", *[f"{_chance(seeds[0]):.0f}"] * (len(table.columns) - 1))
    return replace(
        table,
        title="Recognised as the photo that the caption names, %",
        rows=(*table.rows, chance),
    )


def _matched(seeds: Sequence[Measures]) -> Table:
    found = named(seeds)
    levels = list(next(iter(found[0]["samples"].values())))
    rows = [
        (
            SETTINGS[setting],
            *(
                over_seeds([100 * m["samples"][setting][level]["matched"] for m in found], 1)
                for level in levels
            ),
        )
        for setting in found[0]["samples"]
    ]
    return Table(
        title="Pairs in which a sample is nearer to its own caption's picture, %",
        columns=("sampling", *(f"level {level}" for level in levels)),
        rows=(*rows, ("chance", *["50"] * len(levels))),
        note=f"Of a sample and the picture of another caption, on {found[0]['space']}.",
    )


def text_table() -> Table:
    """Return what Table 5 says of text, and what the small form has in its place."""
    rows = (
        ("pictures", "ImageNet at 256 px, SA-1B at 512 px", "crops of 10 photos at 64 px"),
        ("captions", "by Qwen2.5-VL", f"{len(TRAINED['cat'])} wordings of each photo"),
        ("text encoder", "not named", f"T5's, {LAYERS} layers of {WIDTH}, not trained"),
        ("conditioning", "cross-attention", "cross-attention in every block"),
    )
    return Table(title="Text (Table 5, Sec. 4.1)", columns=("setting", "paper", "ours"), rows=rows)


# ---------------------------------------------------------------------- sheets


def _sheet_of_photos(context: Context) -> Picture:
    """Show some samples of every caption: a row for each photo, wordings side by side."""
    level = _levels(context)
    rows = [
        [
            _drawn(context, wording, photo, number, len(captions), level, caption)
            for wording, captions in (("trained", trained), ("unseen", UNSEEN[photo]))
            for number, caption in enumerate(captions)
        ]
        for photo, trained in TRAINED.items()
    ]
    return Picture(
        name="samples",
        pixels=sheet(rows),
        caption=f"Samples of {level} levels below their captions, {SAMPLING['paper']}: three "
        "wordings that were trained on, and on the right one that never was.",
    )


def _drawn(
    context: Context, wording: str, photo: str, number: int, every: int, level: int, caption: str
) -> Tensor:
    """Return the first samples of a caption, which takes turns with others, below it."""
    folder = samples_of(context, f"{wording}-paper-seed-0") / f"level-{level}" / photo
    paths = sorted(folder.glob("*.png"))[number::every][:SHOWN]
    return with_caption(sheet([[read_picture(path).pixels[0] for path in paths]]), caption)


def _sheet_of_data(context: Context) -> Picture:
    """Show a row for each of some captions: the samples of 1, 2, ... levels."""
    levels, rows = range(1, _levels(context) + 1), []
    folder = samples_of(context, f"{FROM_DATA}-paper-seed-0")
    asked = prompts(context, FROM_DATA, context.result("measure-seed-0")["count"])
    for name, caption in spread(asked, 2 * SHOWN):
        drawn = [read_picture(folder / f"level-{n}" / f"{name}.png").pixels[0] for n in levels]
        rows.append([with_caption(sheet([drawn]), caption)])
    return Picture(
        name="samples",
        pixels=sheet(rows),
        caption=f"Samples of 1 to {len(levels)} levels below their captions, {SAMPLING['paper']}.",
    )


def _levels(context: Context) -> int:
    measures = context.result("measure-seed-0")
    return len(next(iter(measures["samples"].values())))
