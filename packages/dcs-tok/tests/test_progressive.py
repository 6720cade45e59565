"""Decoding level by level: every preview is the decoding of that many levels, at no extra trunk."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dcs_common import Latents
from dcs_tok import DCSTok, dcs_tok_nano

from .tiny_models import LEVELS, NAMES, TRANSFORMERS, model, perturbed, random_levels, random_pixels

CLOSE = {"rtol": 0, "atol": 1e-9}


def _encoded(tok: DCSTok, fps: int | None, levels: Tensor | int | None = None) -> Latents:
    shape = (11, 13) if fps is None else (4, 7, 9)
    return tok.encode(random_pixels(2, 3, *shape), fps=fps, levels=levels)


def _ragged(tok: DCSTok, fps: int | None, seed: int = 0, high: int = LEVELS) -> Latents:
    grid = _encoded(tok, fps, 1).grid
    return _encoded(tok, fps, random_levels(2, *grid, seed=seed, high=high))


@given(
    name=st.sampled_from(NAMES),
    fps=st.sampled_from([None, 5]),
    height=st.integers(4, 13),
    width=st.integers(4, 13),
    target_fps=st.sampled_from([None, 3, 7]),
    high=st.integers(1, LEVELS),
    seed=st.integers(0, 99),
)
def test_each_step_is_the_decoding_of_that_many_levels(
    name: str,
    fps: int | None,
    height: int,
    width: int,
    target_fps: int | None,
    high: int,
    seed: int,
) -> None:
    tok = model(name)
    latents = _ragged(tok, fps, seed, high)
    target = {"size": (height, width), "fps": None if fps is None else target_fps}
    steps = list(tok.decode_progressive(latents, **target))
    assert [step.level for step in steps] == list(range(1, int(latents.levels.max()) + 1))
    for step in steps:
        expected = tok.decode(latents, **target, levels=step.level)
        torch.testing.assert_close(step.pixels, expected, **CLOSE)
    torch.testing.assert_close(steps[-1].pixels, tok.decode(latents, **target), **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_levels_limit_the_steps(name: str) -> None:
    tok = model(name)
    latents = _encoded(tok, None)
    steps = list(tok.decode_progressive(latents, levels=3))
    assert [step.level for step in steps] == [1, 2, 3]
    wanted = random_levels(2, 1, 3, 4, high=3)
    steps = list(tok.decode_progressive(latents, levels=wanted))
    assert len(steps) == int(wanted.max())
    torch.testing.assert_close(steps[-1].pixels, tok.decode(latents, levels=wanted), **CLOSE)


@pytest.mark.parametrize("fps", [None, 5])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_belongs_to_whoever_received_it(name: str, fps: int | None) -> None:
    tok = model(name)
    latents = _ragged(tok, fps)
    received, copies = [], []
    for step in tok.decode_progressive(latents):
        received.append(step.pixels)
        copies.append(step.pixels.clone())
    for pixels, copy in zip(received, copies, strict=True):
        assert torch.equal(pixels, copy)
    for step, copy in zip(tok.decode_progressive(latents), copies, strict=True):
        assert torch.equal(step.pixels, copy)
        step.pixels.fill_(7)  # spoils nothing that is still to come


@pytest.mark.parametrize("fps", [None, 5])
@pytest.mark.parametrize("name", NAMES)
def test_patches_that_a_level_does_not_reach_stay_exactly_as_they_are(
    name: str, fps: int | None
) -> None:
    tok = model(name)
    grid = _encoded(tok, fps, 1).grid
    levels = torch.ones(2, *grid, dtype=torch.int64)
    levels[0, 0, 0, 0] = LEVELS
    first, *others = (step.pixels for step in tok.decode_progressive(_encoded(tok, fps, levels)))
    for pixels in others:
        differs = (pixels != first).any(dim=1)
        assert differs[0].any()
        assert not differs[1].any()
        assert not differs[0, ..., 4:, :].any()
        assert not differs[0, ..., 4:].any()


class _Counter:
    """Rows that go into a module, call by call."""

    def __init__(self, module: nn.Module) -> None:
        self.rows: list[int] = []
        self._hook = module.register_forward_pre_hook(self._count)

    def _count(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.rows.append(len(inputs[0]))

    def remove(self) -> None:
        self._hook.remove()


@pytest.mark.parametrize("fps", [None, 5])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_previews_together_run_each_token_through_the_trunk_once(
    name: str, fps: int | None
) -> None:
    tok = model(name)
    latents = _ragged(tok, fps)
    per_level = [int((latents.levels > level).sum()) for level in range(LEVELS)]
    trunk, patches = _Counter(tok.decoder.blocks[0]), _Counter(tok.depatchifier)
    list(tok.decode_progressive(latents))
    trunk.remove()
    patches.remove()
    assert trunk.rows == per_level
    # The depatchifier runs again, but only for patches that the new level changes.
    assert sum(patches.rows) == sum(per_level)


@pytest.mark.parametrize("fps", [None, 5])
def test_each_preview_runs_one_picture_of_each_sample_through_the_networks(
    fps: int | None,
) -> None:
    tok = model("nano")
    latents = _ragged(tok, fps)
    networks = [_Counter(network) for network in tok.decoder_networks.values()]
    list(tok.decode_progressive(latents))
    reached = (latents.levels.flatten(2)[..., None] == torch.arange(1, LEVELS + 1)).any(dim=2)
    reached |= (latents.levels.flatten(2)[..., None] > torch.arange(1, LEVELS + 1)).any(dim=2)
    assert sum(sum(network.rows) for network in networks) == int(reached.sum())
    for network in networks:
        network.remove()


def test_the_nano_preset_previews_what_it_decodes() -> None:
    tok = perturbed(dcs_tok_nano())
    latents = tok.encode(random_pixels(1, 3, 19, 17), patches=3)
    steps = list(tok.decode_progressive(latents, size=(31, 29)))
    assert len(steps) == 8
    for step in steps:
        expected = tok.decode(latents.take_levels(step.level), size=(31, 29))
        torch.testing.assert_close(step.pixels, expected, **CLOSE)
