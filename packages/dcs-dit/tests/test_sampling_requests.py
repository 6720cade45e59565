"""What cannot be asked of a generator, and what it says; what it notes and does all the same."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from dcs_dit import DCSDiT, TextStates, sample, sample_progressive
from dcs_dit.sampling.settings import SamplingSettings

from .labelled_files import error
from .sampling_models import model, perturbed, progressive, texts, watching
from .small_dit import LABELS, TEXT_WIDTH, randn


def refuses(message: str, dit: DCSDiT | None = None, **request: Any) -> None:
    """Expect both ways of sampling to refuse before the model is asked."""
    dit = dit or model()
    with watching() as seen:
        with error(message):
            sample(dit, **request)
        with error(message):
            sample_progressive(dit, **request)  # by the call, not by the first step
    assert seen.samples == []


def notes(message: str, dit: DCSDiT, **request: Any) -> None:
    """Expect both ways to note something about the caller's request, and to meet it."""
    note = f"^{re.escape(message)}$"
    with pytest.warns(UserWarning, match=note) as joint:
        latents = sample(dit, **request)
    with pytest.warns(UserWarning, match=note) as coarse_to_fine:
        *_, last = sample_progressive(dit, **request)
    assert latents.tokens.shape == last.latents.tokens.shape
    assert len(joint) == len(coarse_to_fine) == 1


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ("cat", "'cat'"),
        (["fox", "cat"], "'cat'"),
        (3, "3"),
        ([0, -1], "-1"),
        (torch.tensor([1, 7]), "7"),
        (True, "True"),
        ("", "''"),
        ("1", "'1'"),
    ],
)
def test_labels_that_there_are_not(labels: Any, shown: str) -> None:
    refuses(
        f"A label must be the name or number of one of the model's classes, but is {shown}. "
        "They are: bee (0), fox (1), owl (2).",
        labels=labels,
    )


@pytest.mark.parametrize(
    "labels", ["Owl", ["OWL"], 2, [2], torch.tensor(2), torch.tensor([2]), ("owl",)]
)
def test_labels_are_names_of_any_case_or_numbers(labels: Any) -> None:
    (step,) = progressive(model(), labels=labels, levels=1, steps=1)
    assert step.state.request.labels == (2,)


@pytest.mark.parametrize(("labels", "shown"), [("fox", "['fox']"), ([1, 2], "[1, 2]")])
def test_a_model_without_classes(labels: Any, shown: str) -> None:
    refuses(
        f"`labels` must be None for a model without classes, but are {shown}. "
        "Leave them out, or load a class-conditional model.",
        perturbed(labels=()),
        labels=labels,
    )


def test_a_model_without_classes_needs_none() -> None:
    assert sample(perturbed(labels=()), num_samples=2, steps=1).tokens.shape[0] == 2


# ---------------------------------------------------------------------- texts


class Encoder:
    """A text's states are its letters' codes, in as many channels as it has width."""

    def __init__(self, width: int = TEXT_WIDTH) -> None:
        self.width = width

    def encode(self, given: Sequence[str]) -> TextStates:
        longest = max(map(len, given))
        codes = torch.tensor([[ord(x) for x in text.ljust(longest)] for text in given])
        channels = torch.arange(1.0, self.width + 1)
        return TextStates((codes[..., None] / channels).cos(), torch.tensor([*map(len, given)]))


def test_texts_are_encoded_by_the_encoder() -> None:
    dit, encoder = model("text"), Encoder()
    request = {"seeds": [1, 1], "steps": 2, "levels": 1}
    words = ["ant", "gnats"]
    by_encoder = sample(dit, texts=words, text_encoder=encoder, **request)
    by_states = sample(dit, texts=encoder.encode(words), **request)
    assert torch.equal(by_encoder.tokens, by_states.tokens)
    assert not torch.equal(by_encoder.tokens[0], by_encoder.tokens[1])
    one = sample(dit, texts="ant", text_encoder=encoder, seeds=[1], steps=2, levels=1)
    torch.testing.assert_close(one.tokens, by_encoder.tokens[:1], rtol=0, atol=1e-5)


def test_an_empty_text_is_no_text() -> None:
    dit = model("text")
    empty = TextStates(randn(1, 3, TEXT_WIDTH), torch.tensor([0]))
    request = {"seeds": [1], "steps": 2, "guidance_scale": 1}
    by_empty, by_none = sample(dit, texts=empty, **request), sample(dit, **request)
    torch.testing.assert_close(by_empty.tokens, by_none.tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given_", ["ant", ["ant"], texts(1)])
def test_a_model_without_text(given_: Any) -> None:
    refuses(
        "`texts` must be None for a model without text, but are given. Leave them out, or load a "
        "text-conditional model.",
        texts=given_,
        text_encoder=Encoder(),
    )


def test_texts_without_an_encoder() -> None:
    refuses(
        "`texts` need the `text_encoder` that the model was trained with, but there is none. Pass "
        "one, or the texts' states as `TextStates`.",
        model("text"),
        texts=["ant"],
    )


@pytest.mark.parametrize("encoded", [True, False])
def test_states_of_another_width(encoded: bool) -> None:
    encoder = Encoder(TEXT_WIDTH + 2)
    refuses(
        f"Text states must have the width {TEXT_WIDTH} that the model was trained with, but have "
        f"{TEXT_WIDTH + 2}. Use the text encoder that it was trained with.",
        model("text"),
        texts=encoder.encode(["ant"]) if encoded else ["ant"],
        text_encoder=encoder,
    )


# ---------------------------------------------------------------------- how many


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({"labels": ["fox"], "seeds": [1, 2]}, "1 by `labels`, 2 by `seeds`"),
        ({"labels": [0, 1, 2], "num_samples": 2}, "3 by `labels`, 2 by `num_samples`"),
        ({"texts": texts(2), "seeds": [1, 2], "num_samples": 1}, "2 by `texts`, 2 by `seeds`, "),
        ({"labels": "fox", "texts": texts(2)}, "1 by `labels`, 2 by `texts`"),
        ({"seeds": [], "num_samples": 1}, "0 by `seeds`, 1 by `num_samples`"),
    ],
)
def test_counts_that_disagree(request_: dict[str, Any], shown: str) -> None:
    shown += "1 by `num_samples`" * shown.endswith(", ")
    refuses(
        f"One number of samples must be asked for, but there are {shown}. Make them agree.",
        model("text"),
        **request_,
    )


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({"num_samples": 0}, "`num_samples` asks for 0"),
        ({"num_samples": -2}, "`num_samples` asks for -2"),
        ({"labels": []}, "`labels` asks for 0"),
        ({"seeds": ()}, "`seeds` asks for 0"),
    ],
)
def test_no_samples(request_: dict[str, Any], shown: str) -> None:
    refuses(f"At least one sample must be asked for, but {shown}.", **request_)


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({}, 1),
        ({"num_samples": 3}, 3),
        ({"seeds": [1, 2]}, 2),
        ({"labels": ["fox", "owl"]}, 2),
        ({"labels": ["fox", "owl"], "seeds": [1, 1], "num_samples": 2}, 2),
    ],
)
def test_whatever_says_how_many(request_: dict[str, Any], count: int) -> None:
    assert sample(model(), steps=1, levels=1, **request_).tokens.shape[0] == count


# ---------------------------------------------------------------------- grid and levels


@pytest.mark.parametrize("grid", [(3,), (0, 3), (1, 1, 1, 1), (1, 2, -3), (1.5, 2), ("1", "2"), ()])
def test_no_grid(grid: tuple[Any, ...]) -> None:
    refuses(
        "`grid` must be (segments, rows, columns) or (rows, columns), integers from 1 on, but is "
        f"{grid!r}. This model was trained on (1, 3, 5).",
        grid=grid,
    )


def test_segments_of_a_model_of_pictures() -> None:
    refuses(
        "`grid` must have one segment for a model of pictures, but has 2. "
        "Load a model that was trained on clips.",
        grid=(2, 3, 5),
    )


@pytest.mark.parametrize(
    ("kind", "grid"),
    [("plain", (5, 3)), ("plain", (1, 3, 6)), ("clip", (4, 1, 5)), ("clip", (3, 2, 5))],
)
def test_a_grid_beyond_training(kind: str, grid: tuple[int, ...]) -> None:
    dit = model(kind)
    notes(
        f"This model was trained on a grid of {dit.config.grid}; {(1, *grid)[-3:]} is beyond "
        "training, and what it shows may be repeated or lose its shape.",
        dit,
        grid=grid,
        steps=1,
        levels=1,
    )


@pytest.mark.parametrize(
    ("kind", "grid"),
    [("plain", (3, 5)), ("plain", [1, 3, 5]), ("clip", (2, 1, 5)), ("clip", torch.Size((1, 5)))],
)
def test_a_grid_that_training_showed_is_not_noted(kind: str, grid: Sequence[int]) -> None:
    """Warnings are errors here; the start of a clip is no new grid."""
    sample(model(kind), grid=grid, steps=1, levels=1)


@pytest.mark.parametrize("levels", [0, -1, 5])
def test_levels_that_the_model_lacks(levels: int) -> None:
    refuses(
        f"`levels` must be between 1 and 4, but is {levels}. This model has 4 levels.",
        levels=levels,
    )


@pytest.mark.parametrize("levels", [torch.ones(1, 3, 5), torch.tensor(2), True, 2.0, "2", [1, 2]])
def test_maps_of_levels(levels: Any) -> None:
    refuses(
        f"`levels` must be one integer for all patches, but is {levels!r}. What is generated has "
        "the same levels everywhere; maps of levels are for encoding.",
        levels=levels,
    )


def test_levels_beyond_training() -> None:
    notes(
        "This model was trained on 2 levels; levels above show what chance left there.",
        perturbed(trained_levels=2),
        levels=3,
        steps=1,
    )
    sample(perturbed(trained_levels=2), levels=2, steps=1)


def test_a_note_points_at_the_caller() -> None:
    with pytest.warns(UserWarning) as seen:
        sample_progressive(model(), grid=(1, 1), steps=1)
    assert [note.filename for note in seen] == [__file__]


# ---------------------------------------------------------------------- guidance and the solver


@pytest.mark.parametrize("scale", [0, 0.5, 6.0])
def test_guidance_of_a_model_without_an_unconditional_branch(scale: float) -> None:
    dit = perturbed(has_unconditional=False)
    refuses(
        "Guidance needs a model with an unconditional branch, but this one was trained without "
        f"dropping its conditions, and `guidance_scale` is {scale}. Use 1.",
        dit,
        labels=["fox"],
        guidance_scale=scale,
    )
    with watching() as seen:
        sample(dit, labels=["fox"], steps=2)
        sample(dit, labels=["fox"], steps=2, guidance_scale=1)
    assert seen.samples == [1] * 4


@pytest.mark.parametrize("scale", [0, 6.0])
def test_guidance_without_a_condition(scale: float) -> None:
    refuses(
        "Guidance needs a label or text to guide towards, but there is none, and `guidance_scale` "
        f"is {scale}. Give `labels` or `texts`, or use 1.",
        guidance_scale=scale,
    )
    sample(model(), guidance_scale=1, steps=1)


SETTINGS = [
    ({"steps": 0}, "`steps` must be an integer from 1 on, but is 0. The paper uses 50."),
    ({"steps": 2.5}, "`steps` must be an integer from 1 on, but is 2.5. The paper uses 50."),
    (
        {"guidance_interval": (0.1,)},
        "`guidance_interval` must be (start, stop) with 0 <= start <= stop <= 1, but is (0.1,). "
        "The paper's is (0.1, 1).",
    ),
    ({"steps": -5}, "`steps` must be an integer from 1 on, but is -5. The paper uses 50."),
    *(
        (
            {"guidance_scale": scale},
            f"`guidance_scale` must be 0 or more and finite, but is {scale}. 1 is no guidance.",
        )
        for scale in (-0.5, float("inf"), float("nan"))
    ),
    *(
        (
            {"guidance_interval": interval},
            "`guidance_interval` must be (start, stop) with 0 <= start <= stop <= 1, but is "
            f"{interval}. The paper's is (0.1, 1).",
        )
        for interval in ((-0.1, 1.0), (0.5, 0.4), (0.0, 1.1), (float("nan"), 1.0))
    ),
    (
        {"guidance_channels": 0},
        "`guidance_channels` must be at least 1, but is 0. None guides all channels.",
    ),
    *(
        (
            {"time_shift": shift},
            f"`time_shift` must be positive and finite, but is {shift}. 1 shifts nothing.",
        )
        for shift in (0.0, -1.0, float("inf"), float("nan"))
    ),
]


@pytest.mark.parametrize(("changes", "message"), SETTINGS)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with error(message):
        SamplingSettings(**changes)
    refuses(message, labels=["fox"], **changes)


def test_the_defaults_are_the_paper_s() -> None:
    (step,) = sample_progressive(model(), labels=LABELS[:1], levels=1)
    assert step.state.request.settings == SamplingSettings()
    found = step.state.request.settings
    assert (found.steps, found.guidance_scale, found.time_shift) == (50, 6.0, 1.0)
    assert (found.guidance_interval, found.guidance_channels) == ((0.1, 1.0), None)


def test_an_unknown_kind_of_cache() -> None:
    with error("`cache` must be one of 'device', 'cpu' and 'recompute', but is 'disk'."):
        sample_progressive(model(), cache="disk")  # type: ignore[arg-type]


def test_an_argument_that_there_is_not() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'label'"):
        sample_progressive(model(), label="fox")
