"""``dcs-dit sample`` of rivals, and the record of how long sampling took."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dcs_dit import DCSDiT, GenerationState, Latents
from dcs_dit.sampling import timing
from dcs_dit.sampling.msf import sample_msf

from .sample_command import TOKENIZER, Command, pixels_of, seeds_of
from .sampling_models import perturbed
from .small_dit import CHANNELS, LABELS, LEVELS

MSF = ("--label", "fox", "--residual-steps", 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rivals")
    trained: dict[str, Any] = {"patch_pixels": 4, "tokenizer": TOKENIZER}
    residual = {"latent_form": "msf-residual", "condition_channels": CHANNELS, "grid": (1, 2, 4)}
    for name, changes in {
        "classes": {"guidance_scale": 3.0},
        "base": {"latent_form": "msf-base", "grid": (1, 1, 2), "guidance_scale": 1.0},
        "residual": {**residual, "guidance_scale": 2.0},
        "foreign": {**residual, "tokenizer": "toy-2"},
        "both": {"latent_form": "posterior-mean-std", "latent_channels": 2 * CHANNELS},
    }.items():
        dit = perturbed(torch.float32, **{**trained, **changes})
        dit.save_pretrained(folder / name)
    return folder


@pytest.fixture
def run(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(models, tmp_path, capsys)


def record(run: Command) -> dict[str, Any]:
    return json.loads((run.out / "sampling.json").read_text())


# ---------------------------------------------------------------------- two stages


def test_base_and_picture_are_levels_one_and_two(run: Command) -> None:
    residual = run.models / "residual"
    files = run.files(*MSF, "--residual", residual, "--progressive", "--latents", kind="base")
    names = [f"level-{level}/fox/00000.safetensors" for level in (1, 2)]
    assert files == names
    pair = (DCSDiT.from_pretrained(run.models / name) for name in ("base", "residual"))
    steps = sample_msf(*pair, labels=["fox"], seeds=seeds_of(1, 1), steps=2, residual_steps=1)
    for name, step in zip(names, steps, strict=True):
        assert torch.equal(Latents.load(run.out / name).tokens, step.latents.tokens)


def test_without_previews_there_is_the_picture_alone(run: Command) -> None:
    residual = ("--residual", run.models / "residual")
    files = run.files(*MSF, *residual, "--grid", "4x2", kind="base")
    assert files == ["contact-sheet.png", "level-2/fox/00000.png"]
    assert pixels_of(run.out / files[1]).shape == (8, 16, 3)
    assert record(run)["steps"] == [2, 1]


def test_stages_are_said_as_they_are_done(run: Command) -> None:
    said = run(*MSF, "--residual", run.models / "residual", "--progressive", kind="base").err
    first, second = said.splitlines()
    assert first.startswith("dcs-dit: level 1 after ")
    assert second.startswith("dcs-dit: level 2 after ")


def test_of_mean_and_deviation_the_mean_is_written(run: Command) -> None:
    (name,) = run.files("--label", "fox", "--latents", kind="both")
    assert Latents.load(run.out / name).tokens.shape[-1] == CHANNELS


def test_residuals_that_do_not_serve(run: Command) -> None:
    base, residual, foreign = (run.models / name for name in ("base", "residual", "foreign"))
    assert run.refusal("--label", "fox", kind="residual").startswith(
        "A model of the form 'msf-residual' needs the base that its residual is added to, but is "
        "sampled alone. "
    )
    assert run.refusal(*MSF, "--residual", base, kind="residual").startswith(
        "The base must be a model of the form 'msf-base', but is one of 'msf-residual'."
    )
    assert run.refusal(*MSF, "--residual", foreign, kind="base").startswith(
        "Base and residual must be of the same latents, but the base differs in tokenizer "
    )
    assert run.refusal(*MSF, "--residual", residual, "--residual-steps", 0, kind="base") == (
        "`residual_steps` must be an integer from 1 on, but is 0. A residual may do with fewer "
        "than the base."
    )
    assert run.refusal("--residual-steps", 3, kind="base") == (
        "`--residual-steps` are those of a residual, but there is none. Name its model with "
        "`--residual`."
    )
    state = ("--state", run.folder / "state", "--progressive", "--levels", 1)
    assert run.refusal(*MSF, "--residual", residual, *state, kind="base") == (
        "`--residual` makes a base and what it leaves, without levels to cache or to go on with. "
        "Leave out `--levels`, `--state`."
    )


# ---------------------------------------------------------------------- sampling.json


def test_the_record_of_a_run_level_by_level(run: Command) -> None:
    run.files("--label", "all", "--progressive", "--latents", "--batch-size", 2, "--seed", 4)
    found = record(run)
    model = DCSDiT.from_pretrained(run.models / "classes")
    times = [found.pop(f"{name}seconds") for name in ("first_preview_", "first_batch_", "")]
    assert 0 < times[0] < times[1] < times[2]
    assert found == {
        "format": 1,
        "samples": len(LABELS),
        "steps": [2] * LEVELS,
        "batch_size": 2,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "precision": "float32",
        "models": {str(run.models / "classes"): model.fingerprint},
        "guidance_scale": 3.0,
        "seed": 4,
    }


def test_all_at_once_the_first_preview_is_the_whole(run: Command) -> None:
    run.files("--guidance-scale", 1, "--latents", "--precision", "bfloat16", "--levels", 2)
    found = record(run)
    assert found["first_preview_seconds"] <= found["first_batch_seconds"] == found["seconds"]
    assert found["seconds"] - found["first_preview_seconds"] < 1e-3
    assert (found["steps"], found["precision"], found["batch_size"]) == ([2], "bfloat16", 1)
    assert found["guidance_scale"] == 1.0


def test_two_models_have_two_scales(run: Command) -> None:
    residual = run.models / "residual"
    run.files(*MSF, "--residual", residual, "--latents", kind="base")
    names = [run.models / "base", residual]
    assert record(run)["models"] == {
        str(name): DCSDiT.from_pretrained(name).fingerprint for name in names
    }
    assert record(run)["guidance_scale"] == [1.0, 2.0]
    run.files(*MSF, "--residual", residual, "--latents", "--guidance-scale", 4, kind="base")
    assert record(run)["guidance_scale"] == 4.0


def test_a_run_that_goes_on_records_what_it_did(run: Command) -> None:
    state = run.folder / "state"
    asked = ("--label", "fox", "--guidance-scale", 2, "--levels", 1)
    run.files(*asked, "--progressive", "--state", state, "--latents")
    run.files("--progressive", "--continue", state, "--levels", 3, "--latents")
    assert GenerationState.load(state).level == 1
    found = record(run)
    assert (found["steps"], found["guidance_scale"], found["seed"]) == ([2, 2], 2.0, None)


def test_a_clock_counts_stages_and_not_what_is_done_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(timing, "perf_counter", lambda: now)

    def batch() -> Iterator[int]:
        nonlocal now
        for stage in range(2):
            now += 1 + stage
            yield stage

    times = timing.SamplingTimes(torch.device("cpu"))
    for _ in range(3):
        for _ in times.over(batch()):
            now += 50
    assert (times.first_preview_seconds, times.first_batch_seconds, times.seconds) == (1, 3, 9)
