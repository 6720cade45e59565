"""``dcs-dit train`` from a cache of latents to a model folder."""

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from dcs_common.training import OptimizerConfig
from dcs_dit import DCSDiT
from dcs_dit.config import DCSDiTConfig
from dcs_dit.data import LatentBatch, LatentCache
from dcs_dit.training import run as training_run
from dcs_dit.training.task import GeneratorTask

from .labelled_files import CLASSES, ToyTokenizer, flat_folder, make_cache
from .small_dit import COMMAND_CONFIG, TOY_CACHE, fresh, small_recipe, toy_cache, train, trained


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_cache(tmp_path_factory.mktemp("command") / "cache")


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "run"
    trained("--data", cache, "--output", folder, "--steps", 4)
    return folder


def _expected_config(**changes: object) -> DCSDiTConfig:
    return replace(
        COMMAND_CONFIG,
        labels=tuple(sorted(CLASSES)),
        grid=(1, 3, 5),
        patch_pixels=2,
        tokenizer="toy-1",
        tokenizer_model="toy-nano",
        **changes,
    )


def test_the_command_says_what_it_wrote(cache: Path, tmp_path: Path) -> None:
    said = trained("--data", cache, "--output", tmp_path / "run", "--steps", 4)
    assert said.startswith(f"wrote {tmp_path / 'run' / 'model'}: tiny, 4 steps, 16 samples, ")
    assert said.endswith(" s in this call")


def test_the_default_folder_is_named_after_the_recipe(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trained("--data", cache, "--steps", 1).startswith(f"wrote {Path('runs/tiny/model')}: ")
    assert (tmp_path / "runs" / "tiny" / "model" / "config.json").exists()


def test_the_model_knows_what_it_was_trained_on(run: Path) -> None:
    dit = DCSDiT.from_pretrained(run / "model")
    assert dit.config == _expected_config()
    assert not dit.training
    assert len(dit.condition.label.weight) == len(CLASSES) + 1


def test_the_model_carries_the_cache_s_statistics(cache: Path, run: Path) -> None:
    dit, latents = DCSDiT.from_pretrained(run / "model"), LatentCache.open(cache)
    assert torch.equal(dit.latent_mean, latents.statistics.mean.float())
    assert torch.equal(dit.latent_std, latents.statistics.std.float())
    rows = dit.normalise(latents.tokens(range(len(latents)))).flatten(0, 3)
    close = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(rows.mean(dim=0), torch.zeros(3, 2), **close)
    torch.testing.assert_close(rows.std(dim=0, correction=0), torch.ones(3, 2), **close)


def _state(run: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(run / "checkpoint.safetensors", framework="pt") as file:
        return {
            name.removeprefix(prefix): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(prefix)
        }


def test_the_averaged_weights_are_written(run: Path) -> None:
    average, last = _state(run, "average/module."), _state(run, "network/generator/")
    written = load_file(run / "model" / "model.safetensors")
    assert written.keys() == average.keys() == last.keys()
    for name, tensor in written.items():
        assert torch.equal(tensor, average[name]), name
    assert any(not torch.equal(written[name], last[name]) for name in written)


def test_the_run_is_written_down(cache: Path, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["versions"] == {"dcs-dit": version("dcs-dit"), "torch": torch.__version__}
    assert record["arguments"]["data"] == str([cache])
    assert record["arguments"]["recipe"] == "tiny"
    recipe = record["recipe"]
    assert recipe["data"] == LatentCache.open(cache).fingerprint
    assert recipe["model"]["labels"] == sorted(CLASSES)
    assert (recipe["training"]["steps"], recipe["label_dropout"]) == (4, 0.1)
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        total = line["squared"] + line["direction"]
        assert line["loss/generator"] == pytest.approx(total, rel=1e-6)
        assert line["rate/generator"] == 3e-3
        assert line["samples"] == 4 * line["step"]


def test_options_change_the_recipe(cache: Path, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=1e-3, matrix_learning_rate=4e-3)
    trained(
        "--data", cache, "--output", tmp_path / "run", "--steps", 2, "--batch-size", 6,
        "--accumulate", 3, "--learning-rate", 5e-4, "--precision", "bfloat16", "--seed", 7,
        recipe=small_recipe(COMMAND_CONFIG, optimizer=optimizer),
    )  # fmt: skip
    training = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["training"]
    names = ("steps", "batch_size", "accumulate", "precision", "seed")
    assert [training[name] for name in names] == [2, 6, 3, "bfloat16", 7]
    # Muon's rate keeps its ratio to AdamW's.
    assert training["optimizer"]["learning_rate"] == 5e-4
    assert training["optimizer"]["matrix_learning_rate"] == pytest.approx(2e-3)


def test_several_caches_are_one(cache: Path, tmp_path: Path) -> None:
    other = toy_cache(tmp_path / "second", ToyTokenizer(scale=3))
    trained("--data", cache, other, "--output", tmp_path / "run", "--steps", 1)
    dit = DCSDiT.from_pretrained(tmp_path / "run" / "model")
    expected = 2 * LatentCache.open(cache).statistics.mean
    torch.testing.assert_close(dit.latent_mean, expected.float())


def test_a_cache_of_more_levels_trains_a_model_of_fewer(cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(replace(COMMAND_CONFIG, num_levels=2))
    trained("--data", cache, "--output", tmp_path / "run", "--steps", 1, recipe=recipe)
    dit = DCSDiT.from_pretrained(tmp_path / "run" / "model")
    assert dit.config == _expected_config(num_levels=2)
    assert torch.equal(dit.latent_mean, LatentCache.open(cache).statistics.mean[:2].float())


def test_the_first_levels_alone(cache: Path, tmp_path: Path) -> None:
    """The rest of the model stays as it was; a run on all levels may start from it."""
    recipe = small_recipe(COMMAND_CONFIG, validate_every=2)
    trained(
        "--data", cache, "--output", tmp_path / "run", "--steps", 2, "--levels", 1,
        "--validate", cache, recipe=recipe,
    )  # fmt: skip
    found = DCSDiT.from_pretrained(tmp_path / "run" / "model")
    start = fresh(found.config)
    assert found.config == _expected_config(trained_levels=1)
    out = found.tokens_out.linear.weight.unflatten(0, (3, 2))
    assert [bool(part.any()) for part in out] == [True, False, False]
    first, before = (dit.tokens_in.weight.unflatten(1, (3, 3)).unbind(1) for dit in (found, start))
    assert [torch.equal(*pair) for pair in zip(first, before, strict=True)] == [False, True, True]
    last = json.loads((tmp_path / "run" / "scalars.jsonl").read_text().splitlines()[-1])
    assert last.keys() == {"step", "validation/squared_level_1"}
    arguments = ("--data", cache, "--output", tmp_path / "all", "--steps", 1, "--init-from")
    assert train(*arguments, tmp_path / "run" / "model").code == 0
    dit = DCSDiT.from_pretrained(tmp_path / "all" / "model")
    assert dit.config == _expected_config()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_model_that_never_lost_its_labels_knows_no_unconditional_branch(
    dropout: float, cache: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(COMMAND_CONFIG, label_dropout=dropout)
    trained("--data", cache, "--output", tmp_path / "run", "--steps", 1, recipe=recipe)
    dit = DCSDiT.from_pretrained(tmp_path / "run" / "model")
    assert dit.config == _expected_config(has_unconditional=dropout > 0)


def test_held_out_latents_are_measured_with_averaged_weights(cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(COMMAND_CONFIG, validate_every=2)
    arguments = ("--data", cache, "--output", tmp_path / "run", "--steps", 4)
    trained(*arguments, "--validate", cache, recipe=recipe)
    lines = (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, lines) if "validation/squared_level_1" in line]
    assert [line["step"] for line in found] == [2, 4]
    dit, latents = DCSDiT.from_pretrained(tmp_path / "run" / "model"), LatentCache.open(cache)
    batch = LatentBatch(latents.tokens(range(17)), latents.labels)
    task = GeneratorTask(dit, replace(recipe, model=dit.config), held_out=batch)
    with torch.no_grad():
        expected = task.validate(dit)
    assert len(expected) == 3
    for name, value in expected.items():
        assert found[-1][f"validation/{name}"] == pytest.approx(value, rel=1e-5)


def test_of_many_held_out_latents_some_from_everywhere_are_measured(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "_HELD_OUT", 5)
    latents = LatentCache.open(cache)
    found = training_run._held_out(cache, latents, small_recipe(COMMAND_CONFIG))
    assert torch.equal(found.tokens, latents.tokens([0, 3, 6, 10, 13]))
    assert found.labels.tolist() == latents.labels[[0, 3, 6, 10, 13]].tolist()


def test_pictures_without_labels_make_a_model_without_classes(tmp_path: Path) -> None:
    pictures = flat_folder(tmp_path / "pictures", 5)
    make_cache(tmp_path / "cache", [pictures], TOY_CACHE)
    trained("--data", tmp_path / "cache", "--output", tmp_path / "run", "--steps", 2)
    dit = DCSDiT.from_pretrained(tmp_path / "run" / "model")
    assert dit.config == replace(_expected_config(), labels=())
    assert dit.condition.label is None


def test_steps_start_from_the_seed_s_weights(cache: Path, run: Path, tmp_path: Path) -> None:
    trained("--data", cache, "--output", tmp_path / "still", "--steps", 1, "--learning-rate", 0)
    found = DCSDiT.from_pretrained(tmp_path / "still" / "model")
    expected = fresh(found.config)
    for name, tensor in expected.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), tensor, rtol=0, atol=1e-7)
