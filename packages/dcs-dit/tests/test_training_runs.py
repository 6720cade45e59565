"""Runs go on to the same numbers, overfit a batch, and start from other models."""

import json
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from dcs_common.training import OptimizerConfig, Share, World
from dcs_dit import DCSDiT
from dcs_dit.data.latent_moments import LatentMoments
from dcs_dit.training import run
from dcs_dit.training.recipe import Recipe
from dcs_dit.training.task import GeneratorTask

from .labelled_files import ToyTokenizer, flat_folder, make_cache, table
from .small_dit import COMMAND_CONFIG, fresh, latents, small_recipe, toy_cache, train, trained

VARYING = ("seconds", "samples_per_second")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_cache(tmp_path_factory.mktemp("runs") / "cache")


def _tensors(run: Path) -> dict[str, Tensor]:
    with safe_open(run / "checkpoint.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _scalars(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in VARYING} for line in lines]


def _assert_the_same_run(first: Path, second: Path) -> None:
    expected, found = _tensors(first), _tensors(second)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    for file in ("model.safetensors", "config.json"):
        assert (first / "model" / file).read_bytes() == (second / "model" / file).read_bytes()
    assert _scalars(first) == _scalars(second)


def _recipe(kind: str) -> Recipe:
    """A recipe that carries every kind of state from step to step."""
    config = replace(COMMAND_CONFIG, modulation_rank=4, qk_norm=True)
    if kind == "adamw":
        return small_recipe(config)
    optimizer = OptimizerConfig(
        learning_rate=1e-3, matrix_learning_rate=2e-3, warmup_steps=2, schedule="cosine"
    )
    return small_recipe(config, optimizer=optimizer, precision="bfloat16", batch_size=2)


def test_more_steps_later_are_as_if_asked_for_at_once(cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(COMMAND_CONFIG, validate_every=2)
    arguments = ("--data", cache, "--validate", cache)
    trained(*arguments, "--output", tmp_path / "whole", "--steps", 6, recipe=recipe)
    for steps in (2, 4, 6):
        said = trained(*arguments, "--output", tmp_path / "parts", "--steps", steps, recipe=recipe)
        assert said.startswith(f"wrote {tmp_path / 'parts' / 'model'}: tiny, {steps} steps, ")
    _assert_the_same_run(tmp_path / "whole", tmp_path / "parts")
    logged = [line["step"] for line in _scalars(tmp_path / "whole")]
    assert logged == [1, 2, 2, 3, 4, 4, 5, 6, 6]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_numbers(
    kind: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--data", cache, "--steps", 7)
    trained(*arguments, "--output", tmp_path / "whole", recipe=_recipe(kind))
    plain = GeneratorTask.losses

    def losses(self: GeneratorTask, batch: Any, share: Share, call: Any) -> Iterator[Any]:
        if share.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, batch, share, call)

    with monkeypatch.context() as patched:
        patched.setattr(GeneratorTask, "losses", losses)
        said = trained(*arguments, "--output", tmp_path / "parts", recipe=_recipe(kind))
    assert said == "stopped at step 4 of 7; run again to go on"
    assert not (tmp_path / "parts" / "model").exists()
    trained(*arguments, "--output", tmp_path / "parts", recipe=_recipe(kind))
    _assert_the_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_that_broke_goes_on_from_its_last_checkpoint(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(_recipe("adamw"), training=replace(_recipe("adamw").training, steps=7))
    recipe = replace(recipe, training=replace(recipe.training, checkpoint_every=3))
    trained("--data", cache, "--output", tmp_path / "whole", recipe=recipe)

    def losses(self: GeneratorTask, batch: Any, share: Share, call: Any) -> Iterator[Any]:
        if share.step == 5:
            raise RuntimeError("the machine broke")
        return plain(self, batch, share, call)

    plain = GeneratorTask.losses
    with monkeypatch.context() as patched:
        patched.setattr(GeneratorTask, "losses", losses)
        with pytest.raises(RuntimeError, match="the machine broke"):
            train("--data", cache, "--output", tmp_path / "parts", recipe=recipe)
    assert _scalars(tmp_path / "parts")[-1]["step"] == 5
    trained("--data", cache, "--output", tmp_path / "parts", recipe=recipe)
    _assert_the_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_is_not_run_again(cache: Path, tmp_path: Path) -> None:
    arguments = ("--data", cache, "--output", tmp_path / "run", "--steps", 2)
    trained(*arguments)
    model = tmp_path / "run" / "model" / "model.safetensors"
    before, scalars = load_file(model), _scalars(tmp_path / "run")
    assert "2 steps, 8 samples, 0 s in this call" in trained(*arguments)
    for name, tensor in load_file(model).items():
        assert torch.equal(tensor, before[name]), name
    assert _scalars(tmp_path / "run") == scalars


def test_micro_batches_take_the_step_of_the_whole_batch(cache: Path, tmp_path: Path) -> None:
    for parts in (1, 2, 4):
        trained(
            "--data", cache, "--output", tmp_path / str(parts), "--steps", 3,
            "--accumulate", parts,
        )  # fmt: skip
    expected = load_file(tmp_path / "1" / "model" / "model.safetensors")
    for parts in ("2", "4"):
        found = load_file(tmp_path / parts / "model" / "model.safetensors")
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4, msg=name)


def test_recomputed_activations_change_no_step(cache: Path, tmp_path: Path) -> None:
    arguments = ("--data", cache, "--steps", 3)
    trained(*arguments, "--output", tmp_path / "plain")
    trained(*arguments, "--output", tmp_path / "recomputed", "--checkpoint-activations")
    _assert_the_same_run(tmp_path / "plain", tmp_path / "recomputed")


def test_another_seed_is_another_run(cache: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        trained("--data", cache, "--output", tmp_path / str(seed), "--seed", seed, "--steps", 1)
    first, second = (_scalars(tmp_path / str(seed))[0] for seed in (0, 1))
    assert first["loss/generator"] != second["loss/generator"]


# ---------------------------------------------------------------------- starting from a model


def test_a_start_is_named_and_taken(cache: Path, tmp_path: Path) -> None:
    first = tmp_path / "first" / "model"
    trained("--data", cache, "--output", first.parent, "--steps", 2)
    # The same tokenizer by its fingerprint; latents with other statistics.
    other = toy_cache(tmp_path / "other", ToyTokenizer(scale=3))
    arguments = ("--data", other, "--output", tmp_path / "second", "--steps", 1)
    finished = train(*arguments, "--init-from", first, "--learning-rate", 0)
    assert (finished.code, finished.err) == (0, f"dcs-dit: started from {first}\n")
    expected = DCSDiT.from_pretrained(first)
    found = DCSDiT.from_pretrained(tmp_path / "second" / "model")
    for name, tensor in found.named_parameters():
        start = expected.get_parameter(name)
        torch.testing.assert_close(tensor, start, rtol=1e-6, atol=1e-6, msg=name)
    assert not torch.equal(found.latent_mean, expected.latent_mean)
    assert not torch.equal(found.latent_std, expected.latent_std)
    # A run that goes on takes its own weights, in silence.
    finished = train(*arguments, "--init-from", tmp_path / "gone", "--learning-rate", 0)
    assert (finished.code, finished.err) == (0, "")


# ---------------------------------------------------------------------- overfitting


def _overfit(levels: int | None, steps: int) -> list[float]:
    """Train on the same four samples, noise and times; return the losses."""
    batch, dit = latents(4), fresh()
    moments = LatentMoments.of(batch.tokens).statistics
    dit.latent_mean.copy_(moments.mean)
    dit.latent_std.copy_(moments.std)
    task = GeneratorTask(dit, small_recipe(levels=levels))
    share = Share(0, 0, 4, 4)
    assert len(task.draw(batch, share).levels.unique()) == (3 if levels is None else 1)
    optimizer = torch.optim.AdamW(dit.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0)
    losses = []
    for _ in range(steps):
        ((_, loss, _),) = task.losses(batch, share, task.networks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dit.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("levels", [None, 1])
def test_one_batch_is_learned_by_heart(levels: int | None) -> None:
    losses = _overfit(levels, 120)
    # Saying nothing costs 1 for the direction and E (x_1 - x_0)^2 = 2.
    assert losses[0] == pytest.approx(3, abs=0.4)
    assert losses[-1] < 0.02 * losses[0]


def test_learning_is_deterministic() -> None:
    assert _overfit(None, 10) == _overfit(None, 10)


def test_every_process_encodes_texts_on_its_own_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain ``cuda`` names the first device until a process has taken its own."""
    folder = flat_folder(tmp_path / "pictures", 2)
    rows = [[f"{i}.png", "", "an owl"] for i in range(2)]
    labels = table(tmp_path / "labels.csv", ["name", "class", "caption"], *rows)
    make_cache(tmp_path / "cache", [folder], labels=labels)
    asked = {}

    class FoundError(Exception):
        pass

    def encoder(name: str, *, device: torch.device) -> None:
        asked[name] = device
        raise FoundError

    own = World(3, 8, torch.device("cuda", 3))
    monkeypatch.setattr("dcs_dit.transformers_text.TransformersTextEncoder", encoder)
    monkeypatch.setattr(run, "joined_world", lambda _: nullcontext(own))
    inputs = run.Inputs(data=(tmp_path / "cache",), text_encoder="some", device="cuda")
    with pytest.raises(FoundError):
        run.train_generator(small_recipe(COMMAND_CONFIG), inputs, tmp_path / "run")
    assert asked == {"some": own.device}
