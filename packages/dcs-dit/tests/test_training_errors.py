"""What ``dcs-dit train`` refuses: one message, exit code 2, and nothing is written."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcs_dit.cli import main
from dcs_dit.data import LatentCache
from dcs_dit.training import task
from dcs_dit.training.recipes import RECIPES
from dcs_dit.training.rectified_flow import FlowErrors

from .labelled_files import ToyTokenizer, class_folder, make_cache
from .small_dit import (
    COMMAND_CONFIG,
    TOY_CACHE,
    below,
    fresh,
    refusal,
    small_config,
    small_recipe,
    toy_cache,
    train,
    trained,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_cache(tmp_path_factory.mktemp("errors") / "cache")


@pytest.fixture
def run(cache: Path, tmp_path: Path) -> tuple[object, ...]:
    return "--data", cache, "--output", tmp_path / "run"


def test_no_data(tmp_path: Path) -> None:
    assert refusal(tmp_path, "--output", tmp_path / "run") == (
        "`--data` must name a cache of latents, but is empty. Make one with `dcs-dit cache`."
    )


def test_a_folder_that_is_no_cache(tmp_path: Path) -> None:
    assert refusal(tmp_path, "--data", tmp_path / "gone", "--output", tmp_path / "run") == (
        f"A cache of latents must hold cache.json, but {tmp_path / 'gone'} does not. Check the "
        "path, or make a cache with `dcs-dit cache`."
    )


@pytest.mark.parametrize(("levels", "channels"), [(4, 2), (3, 5), (8, 16)])
def test_latents_that_do_not_fit_the_recipe(
    levels: int, channels: int, run: tuple[object, ...], tmp_path: Path
) -> None:
    recipe = small_recipe(small_config(num_levels=levels, latent_channels=channels))
    assert refusal(tmp_path, *run, recipe=recipe) == (
        f"The latents must have {levels} levels or more of {channels} channels, but the cache "
        "holds 3 of 2. Cache the latents of another tokenizer, or of more levels."
    )


@pytest.mark.parametrize("levels", [0, 4])
def test_more_levels_than_the_model_has(
    levels: int, run: tuple[object, ...], tmp_path: Path
) -> None:
    assert refusal(tmp_path, *run, "--levels", levels) == (
        f"`levels` must be between 1 and 3, but is {levels}. The model has 3 levels."
    )


def test_held_out_latents_of_another_tokenizer(
    run: tuple[object, ...], cache: Path, tmp_path: Path
) -> None:
    other = toy_cache(tmp_path / "other", ToyTokenizer("toy-2"))
    assert refusal(tmp_path, *run, "--validate", other) == (
        f"Latents held out must have the same tokenizer as those of `--data`, but {other} has "
        "toy-2, not toy-1. Cache them with the same settings."
    )


def test_held_out_latents_on_another_grid(run: tuple[object, ...], tmp_path: Path) -> None:
    other = toy_cache(tmp_path / "other", size=(6, 6))
    assert refusal(tmp_path, *run, "--validate", other) == (
        f"Latents held out must have the same grid as those of `--data`, but {other} has "
        "(1, 3, 3), not (1, 3, 5). Cache them with the same settings."
    )


@pytest.mark.parametrize("names", [("ant", "bee", "fox", "owl", "yak"), ("bee", "yak", "zebra")])
def test_held_out_latents_of_other_classes(
    names: tuple[str, ...], run: tuple[object, ...], tmp_path: Path
) -> None:
    pictures = class_folder(tmp_path / "pictures", dict.fromkeys(names, 3))
    other = tmp_path / "other"
    make_cache(other, [pictures], TOY_CACHE)
    said = refusal(tmp_path, *run, "--validate", other)
    assert said.startswith(
        f"Latents held out must have the same label_names as those of `--data`, but {other} has "
        f"{names}, not "
    )


def test_held_out_latents_of_fewer_levels(run: tuple[object, ...], tmp_path: Path) -> None:
    other = toy_cache(tmp_path / "other", levels=2)
    assert refusal(tmp_path, *run, "--validate", other) == (
        f"Latents held out must have the 3 levels that are trained, but {other} has 2. Cache them "
        "with the same settings."
    )


def test_data_of_two_tokenizers(cache: Path, tmp_path: Path) -> None:
    other = toy_cache(tmp_path / "other", ToyTokenizer("toy-2"))
    assert refusal(tmp_path, "--data", cache, other, "--output", tmp_path / "run") == (
        f"Caches that are used together must have the same fingerprint, but {cache} has 'toy-1' "
        f"and {other} has 'toy-2'. Make them with one tokenizer, grid and table of labels."
    )


# ---------------------------------------------------------------------- starts


@pytest.fixture
def fitting(cache: Path) -> dict[str, object]:
    """What a model for the cache's latents has."""
    labels = LatentCache.open(cache).label_names
    return {"num_levels": 3, "latent_channels": 2, "labels": labels, "tokenizer": "toy-1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 48, "blocks": 3}, "width (48 there, 32 here), blocks (3 there, 2 here)"),
        ({"labels": ("owl",)}, "labels (['owl'] there, ['bee', 'fox', 'owl'] here)"),
        ({"tokenizer": "toy-2"}, "tokenizer (toy-2 there, toy-1 here)"),
        ({"qk_norm": True}, "qk_norm (True there, False here)"),
    ],
)
def test_a_start_that_is_of_another_kind(
    changes: dict[str, object],
    message: str,
    fitting: dict[str, object],
    run: tuple[object, ...],
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    fresh(small_config(**{**fitting, **changes})).save_pretrained(model)
    assert refusal(tmp_path, *run, "--init-from", model) == (
        f"A run must start from a model of its own kind, but {model} differs in {message}. "
        "Choose the model that the recipe names, or train without `--init-from`."
    )


def test_a_start_that_is_not_there(run: tuple[object, ...], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(tmp_path, *run, "--init-from", empty) == (
        f"A model folder must hold config.json, but {empty} does not. Check the path."
    )


# ---------------------------------------------------------------------- the run


@pytest.mark.parametrize("place", ["one.png", "one.png/run"])
def test_an_output_that_cannot_be_written(place: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"")
    output = tmp_path / place
    reason = "File exists" if place == "one.png" else "Not a directory"
    assert refusal(tmp_path, "--data", cache, "--output", output) == (
        f"The output must be a folder that can be made, but {output} cannot be ({reason}). Name "
        "another with `--output`."
    )


def test_a_batch_that_cannot_be_divided(run: tuple[object, ...], tmp_path: Path) -> None:
    assert refusal(tmp_path, *run, "--accumulate", 3) == (
        "`batch_size` must be a multiple of processes times `accumulate`, but is 4 for 1 "
        "processes and `accumulate` 3. Change one of them."
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--steps", 0), "`steps` must be at least 1, but is 0."),
        (("--batch-size", -4), "`batch_size` must be at least 1, but is -4."),
        (("--accumulate", 0), "`accumulate` must be at least 1, but is 0."),
        (("--seed", 2**70), f"`--seed` must fit into 64 bits, but is {2**70}. Choose another."),
        (
            ("--learning-rate", -1),
            "Learning rates and weight decay must be 0 or more and finite, but are -1.0, None and "
            "0.0.",
        ),
    ],
)
def test_numbers_out_of_range(
    option: tuple[str, int], message: str, run: tuple[object, ...], tmp_path: Path
) -> None:
    assert refusal(tmp_path, *run, *option) == message


def test_a_device_that_is_not_there(run: tuple[object, ...], tmp_path: Path) -> None:
    said = refusal(tmp_path, *run, "--device", "sun")
    assert said.startswith("`--device` must name a device of this machine, but is 'sun' (")
    assert said.endswith("). Use cpu.")


def test_an_unknown_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "huge"])
    said = capsys.readouterr().err
    assert re.search("argument recipe: invalid choice: 'huge'", said)
    for name in RECIPES:
        assert name in said


def test_another_run_s_folder_stays_as_it_is(run: tuple[object, ...], tmp_path: Path) -> None:
    trained(*run, "--steps", 2)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"

    def differs(what: str) -> str:
        return (
            f"A run must go on from its own checkpoint, but {checkpoint} differs in {what}. Use "
            "another folder, or the settings that it was made with."
        )

    recipe = replace(small_recipe(COMMAND_CONFIG), name="other", label_dropout=0.5)
    assert refusal(tmp_path, *run, recipe=recipe) == differs(
        'label_dropout (0.1 there, 0.5 here), name ("tiny" there, "other" here)'
    )
    assert refusal(tmp_path, *run, "--precision", "bfloat16") == differs(
        'training.precision ("float32" there, "bfloat16" here)'
    )
    assert refusal(tmp_path, *run, "--levels", 1) == differs(
        "levels (null there, 1 here), model.trained_levels (null there, 1 here)"
    )
    other = toy_cache(tmp_path / "other", flips=True)
    names = [LatentCache.open(folder).fingerprint for folder in (run[1], other)]
    assert refusal(tmp_path, "--data", other, *run[2:]) == differs(
        f'data ("{names[0]}" there, "{names[1]}" here)'
    )
    assert trained(*run, "--steps", 3).startswith("wrote ")


def test_a_run_that_diverges_keeps_its_checkpoint(
    run: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(*run, "--steps", 2)
    before = below(tmp_path / "run")
    monkeypatch.setattr(task, "flow_errors", lambda velocity, target: _not_finite(velocity))
    finished = train(*run, "--steps", 4)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == (
        "dcs-dit: error: Losses and gradients must stay finite and near their usual size, but at "
        f"step 3 the loss of 'generator' is nan. The last good checkpoint is {checkpoint}. Lower "
        "the learning rate or `clip_norm`, or normalise queries and keys (`qk_norm`), and look at "
        "the batch of that step.\n"
    )
    after = below(tmp_path / "run")
    for name in ("checkpoint.safetensors", "model/model.safetensors", "scalars.jsonl"):
        assert after[tmp_path / "run" / name] == before[tmp_path / "run" / name]


def _not_finite(velocity: torch.Tensor) -> FlowErrors:
    errors = velocity.mean(dim=-1) * torch.nan
    return FlowErrors(errors, errors)
