"""A run may stop after any level, be saved, and go on later, in another process, too."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dcs_dit import DCSDiT, GenerationState, GenerationStep, Latents, sample_progressive
from dcs_dit.sampling.request import SamplingRequest
from dcs_dit.sampling.settings import SamplingSettings

from .labelled_files import error
from .sampling_models import (
    CACHES,
    EXACT,
    MODELS,
    model,
    perturbed,
    progressive,
    requests,
    texts,
    tokens_of,
)
from .small_dit import LEVELS, TEXT_WIDTH, randn

REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"labels": ["bee", "owl"], "guidance_channels": 2},
    "normalised": {"num_samples": 2},
    "text": {"texts": texts(2), "labels": [2, 1]},
    "clip": {"labels": [0, 2], "guidance_interval": (0.2, 0.6), "time_shift": 0.5},
}


def run(kind: str = "plain", cache: str = "device") -> list[GenerationStep]:
    return progressive(model(kind), cache, **{"steps": 4, "seeds": [3, 4], **REQUESTS[kind]})


def again(state: GenerationState, path: Path) -> GenerationState:
    state.save(path)
    return GenerationState.load(path)


def assert_same(found: GenerationState, expected: GenerationState) -> None:
    """Compare all that a state holds."""
    plain = (replace(state.request, text=None) for state in (found, expected))
    for one, other in zip(*(_fields(request) for request in plain), strict=True):
        assert one == other
    assert found.model == expected.model
    assert len(found.trajectories) == len(expected.trajectories)
    assert all(map(torch.equal, found.trajectories, expected.trajectories))
    text, other_text = found.request.text, expected.request.text
    assert (text is None) == (other_text is None)
    if text is not None and other_text is not None:
        assert torch.equal(text.states, other_text.states)
        assert torch.equal(text.lengths, other_text.lengths)


def _fields(request: SamplingRequest) -> list[Any]:
    return [getattr(request, name) for name in SamplingRequest.__slots__]


# ---------------------------------------------------------------------- going on


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_run_that_stopped_anywhere_goes_on_as_if_it_had_not(
    kind: str, cache: str, tmp_path: Path
) -> None:
    whole = run(kind, cache)
    for stop in whole[:-1]:
        state = again(stop.state, tmp_path / "state")
        assert state.level == stop.level
        rest = progressive(model(kind), cache, state=state)
        assert [step.level for step in rest] == list(range(stop.level + 1, LEVELS + 1))
        for step, expected in zip(rest, whole[stop.level :], strict=True):
            assert torch.equal(step.latents.tokens, expected.latents.tokens)
            assert_same(step.state, expected.state)


@pytest.mark.parametrize("cache", CACHES)
def test_another_kind_of_cache_goes_on_as_well(cache: str) -> None:
    whole = run()
    *_, last = progressive(model(), cache, state=whole[1].state)
    torch.testing.assert_close(tokens_of(last), tokens_of(whole[-1]), **EXACT)


OTHER_PROCESS = """
import sys
from dcs_dit import DCSDiT, GenerationState, sample_progressive
dit = DCSDiT.from_pretrained(sys.argv[1])
for cache in ("device", "cpu", "recompute"):
    state = GenerationState.load(sys.argv[2])
    *_, last = sample_progressive(dit, state=state, cache=cache)
    last.latents.save(f"{sys.argv[3]}/{cache}")
"""


def test_another_process_goes_on(tmp_path: Path) -> None:
    perturbed(torch.float32).save_pretrained(tmp_path / "model")
    dit = DCSDiT.from_pretrained(tmp_path / "model")
    whole = progressive(dit, labels=["fox", "bee"], seeds=[3, 4], steps=4)
    whole[1].state.save(tmp_path / "state")
    arguments = [str(tmp_path / "model"), str(tmp_path / "state"), str(tmp_path)]
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, *arguments], check=True)
    for cache in ("device", "cpu", "recompute"):
        found = Latents.load(tmp_path / cache)
        torch.testing.assert_close(found.tokens, whole[-1].latents.tokens, rtol=0, atol=1e-5)
        assert (found.size, found.tokenizer) == (whole[-1].latents.size, dit.config.tokenizer)


def test_more_levels_than_first_asked_for_and_fewer() -> None:
    request = {"labels": ["fox"], "seeds": [3], "steps": 3}
    whole = progressive(model(), **request)
    short = progressive(model(), **request, levels=2)
    more = progressive(model(), state=short[-1].state, levels=LEVELS)
    assert [step.level for step in more] == [3, 4]
    torch.testing.assert_close(tokens_of(more[-1]), tokens_of(whole[-1]), **EXACT)
    assert more[-1].state.request.levels == LEVELS
    assert short[-1].state.request.levels == 2
    (fewer,) = progressive(model(), state=whole[1].state, levels=3)
    torch.testing.assert_close(tokens_of(fewer), tokens_of(whole[2]), **EXACT)


def test_levels_above_training_are_noted_when_a_state_asks_for_them() -> None:
    dit = perturbed(trained_levels=2)
    (_, last) = progressive(dit, seeds=[1], steps=2)
    note = "^This model was trained on 2 levels; levels above show what chance left there[.]$"
    with pytest.warns(UserWarning, match=note):
        steps = list(sample_progressive(dit, state=last.state, levels=3))
    assert [step.level for step in steps] == [3]


def test_one_state_serves_several_runs() -> None:
    state = run()[0].state
    copy = [trajectory.clone() for trajectory in state.trajectories]
    first, second = (progressive(model(), state=state)[-1] for _ in range(2))
    assert torch.equal(first.latents.tokens, second.latents.tokens)
    assert all(map(torch.equal, state.trajectories, copy))


def test_a_state_holds_the_way_from_noise_to_data() -> None:
    steps = run("clip")
    state = steps[-1].state
    for trajectory in state.trajectories:
        assert trajectory.shape == (4 + 1, 2, 3 * 1 * 5, 5)
        assert trajectory.dtype == torch.float64
    latents = model("clip").denormalise(tokens_of(steps[-1]))
    assert torch.equal(steps[-1].latents.tokens, latents.float())


# ---------------------------------------------------------------------- refusals


def refused(message: str, dit: DCSDiT, **arguments: Any) -> None:
    """Expect a refusal by the call itself."""
    with error(message):
        sample_progressive(dit, **arguments)


@pytest.mark.parametrize(
    ("given_", "what"),
    [
        ({"labels": ["fox"]}, "`labels` is"),
        ({"steps": 50}, "`steps` is"),
        ({"seeds": [1], "grid": (1, 1)}, "`seeds`, `grid` are"),
    ],
)
def test_a_request_beside_a_state(given_: dict[str, Any], what: str) -> None:
    state = run()[0].state
    message = f"A state holds its request, but {what} given beside it. Leave them out."
    refused(message, model(), state=state, **given_)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"trained_levels": 3}])
def test_the_state_of_another_model(changes: dict[str, Any]) -> None:
    (step, *_) = progressive(model(), steps=1)
    other = perturbed(**changes)
    (own, *_) = progressive(other, steps=1)
    refused(
        "A state must be of the model that goes on with it, but it is of "
        f"{step.state.model} and the model is {own.state.model}. "
        "Load the model that it was begun with.",
        other,
        state=step.state,
    )


def test_statistics_of_latents_belong_to_the_model() -> None:
    (step, *_) = progressive(model(), steps=1)
    other = perturbed()
    other.latent_std.mul_(2)
    with pytest.raises(ValueError, match=r"^A state must be of the model that goes on "):
        sample_progressive(other, state=step.state)


@pytest.mark.parametrize("asked", [1, 3])
def test_levels_that_are_finished(asked: int) -> None:
    steps = progressive(model(), steps=1, levels=3)
    message = (
        "`levels` must be more than the 3 that the state has finished, but are {}. "
        "Ask for more, or use its latents as they are."
    )
    refused(message.format(asked), model(), state=steps[-1].state, levels=asked)
    refused(message.format(3), model(), state=steps[-1].state)


def test_levels_that_the_model_lacks() -> None:
    state = progressive(model(), steps=1)[0].state
    refused(
        "`levels` must be between 1 and 4, but is 5. This model has 4 levels.",
        model(),
        state=state,
        levels=5,
    )


# ---------------------------------------------------------------------- files


@given(asked=requests())
def test_a_file_gives_back_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, asked: tuple[str, dict[str, Any]]
) -> None:
    kind, request = asked
    path = tmp_path_factory.mktemp("states") / "state"
    for step in progressive(model(kind), **{**request, "steps": 1}):
        assert_same(again(step.state, path), step.state)


def test_under_a_megabyte_for_a_level_of_256_patches_in_50_steps(tmp_path: Path) -> None:
    request = SamplingRequest(
        grid=(1, 16, 16),
        levels=3,
        seeds=(1,),
        labels=None,
        text=None,
        settings=SamplingSettings(),
    )
    trajectories = tuple(torch.zeros(51, 1, 256, 16) for _ in range(3))
    GenerationState(request=request, model="m", trajectories=trajectories).save(tmp_path / "state")
    assert (tmp_path / "state").stat().st_size < 3 * 1e6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file with everything in it."""
    path = tmp_path_factory.mktemp("state") / "state"
    request = {"grid": (1, 1), "levels": 2, "steps": 1, "seeds": [3]}
    dit = perturbed(torch.float32, text_width=TEXT_WIDTH, grid=(1, 1, 1))
    progressive(dit, labels=["owl"], texts=texts(1), **request)[-1].state.save(path)
    return path


@given(data=st.data())
def test_a_file_cut_at_any_byte(written: Path, data: st.DataObject) -> None:
    whole = written.read_bytes()
    path = written.with_name("cut")
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    said = rf"A state file must be a whole safetensors file, but {re.escape(str(path))} cannot be "
    with pytest.raises(
        ValueError, match=rf"^{said}read \([^\n]+\)\. It may be cut short; begin again\.$"
    ):
        GenerationState.load(path)


@given(data=st.data())
def test_a_file_with_any_byte_changed_is_read_or_refused(
    written: Path, data: st.DataObject
) -> None:
    whole = bytearray(written.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    path = written.with_name("changed")
    path.write_bytes(whole)
    try:
        state = GenerationState.load(path)
    except ValueError as refusal:
        assert str(path) in str(refusal)
    else:
        assert all(trajectory.isfinite().all() for trajectory in state.trajectories)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with error(f"A state file must exist, but {path} does not. Check the path."):
            GenerationState.load(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "latents"
    Latents(tokens=randn(1, 1, 2, 2, 3, 4), size=(8, 8)).save(path)
    with error(
        f"A state file must be of the kind 'dcs-generation', but {path} is not. "
        "Write it with `GenerationState.save` or `dcs-dit sample --state`."
    ):
        GenerationState.load(path)


Change = Callable[[dict[str, Tensor], dict[str, Any]], Any]


def rewrite(source: Path, path: Path, change: Change) -> None:
    """Write a state file after a change of its tensors, or of what it says about them."""
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    about = json.loads(metadata.pop("about"))
    about |= metadata
    change(tensors, about)
    metadata = {key: about.pop(key) for key in ("kind", "format")}
    save_file(tensors, path, metadata | {"about": json.dumps(about)})


def test_another_format(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "state"
    rewrite(written, path, lambda _, about: about.update(format="2"))
    with error(
        f"The format of a state must be 1, but {path} has format '2'. "
        "Go on with the release that wrote it."
    ):
        GenerationState.load(path)


INCONSISTENT: dict[str, Change] = {
    "'trajectory.1'": lambda tensors, _: tensors.pop("trajectory.1"),
    "'text.lengths'": lambda tensors, _: tensors.pop("text.lengths"),
    "2 of 1 levels": lambda _, about: about.update(levels=1),
    "a trajectory of shape (2, 1, 1, 5)": lambda _, about: about.update(grid=[1, 1, 2]),
    "a trajectory that is not finite": lambda tensors, _: tensors["trajectory.2"].fill_(torch.nan),
    "'seeds'": lambda _, about: about.pop("seeds"),
    "'settings'": lambda _, about: about.pop("settings"),
    "`steps` must be an integer from 1 on, but is 0. The paper uses 50.": lambda _, about: about[
        "settings"
    ].update(steps=0),
    "not enough values to unpack (expected 3, got 2)": lambda _, about: about.update(grid=[1, 1]),
    "0 of 2 levels": lambda tensors, _: [tensors.pop(f"trajectory.{i}") for i in (1, 2)],
}


@pytest.mark.parametrize("said", INCONSISTENT)
def test_parts_that_do_not_fit(said: str, written: Path, tmp_path: Path) -> None:
    path = tmp_path / "state"
    rewrite(written, path, INCONSISTENT[said])
    with error(f"A state file must be consistent, but {path} is not ({said}). Begin again."):
        GenerationState.load(path)


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    state = run()[0].state
    path = tmp_path / "missing" / "state"
    with error(f"The output's folder must exist, but {path.parent} does not. Create it first."):
        state.save(path)
    state.save(tmp_path / "state")
    assert [file.name for file in tmp_path.iterdir()] == ["state"]
