"""Pieces under a memory ceiling give what the whole gives, and batch mates do not matter."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common import Latents
from dcs_tok import DCSTok
from dcs_tok.patch_work import by_level_count, default_max_memory, plan_work, restore_order

from .tiny_models import (
    CONFIGS,
    NAMES,
    TRANSFORMERS,
    model,
    perturbed,
    random_levels,
    random_pixels,
)

CLOSE = {"rtol": 0, "atol": 1e-9}
SCALES = [(None, (3, 3, 11, 13)), (5, (3, 3, 4, 5, 7))]
SCALE_IDS = ["image", "clip"]


def _levels(tok: DCSTok, pixels: Tensor, fps: int | None) -> Tensor:
    return random_levels(len(pixels), *tok.encode(pixels, fps=fps, levels=1).grid)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_one_patch_at_a_time_equals_all_at_once(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok = perturbed(replace(CONFIGS[name](), patches_short_side=2))
    pixels = random_pixels(*shape)[:2]
    levels = _levels(tok, pixels, fps)
    pieces: list[int] = []

    def run(max_memory: int) -> tuple[Latents, list[Tensor], int]:
        tok.max_memory = max_memory
        pieces.clear()
        latents = tok.encode(pixels, fps=fps, levels=levels)
        decoded = [tok.decode(latents, size=(9, 10)), tok.reconstruct(latents)]
        counts = list(pieces)
        decoded += [step.pixels for step in tok.decode_progressive(latents)]
        return latents, decoded, max(counts)

    for network in (tok.patchifier, tok.depatchifier):
        network.register_forward_pre_hook(lambda _module, inputs: pieces.append(len(inputs[0])))
    whole, expected, most = run(2**40)
    small, decoded, least = run(1)
    assert least == 1
    assert most > 1
    torch.testing.assert_close(small.tokens, whole.tokens, **CLOSE)
    for ours, theirs in zip(decoded, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("asked", [1, 3, None])
def test_patches_at_once_can_be_asked_for(asked: int | None) -> None:
    tok = perturbed(replace(CONFIGS["paper"](), patches_short_side=4))
    pixels = random_pixels(1, 3, 20, 20)
    expected = tok.encode(pixels)
    tok.patches_at_once = asked
    pieces: list[int] = []
    tok.patchifier.register_forward_pre_hook(lambda _, inputs: pieces.append(len(inputs[0])))
    found = tok.encode(pixels)
    assert sum(pieces) == 16
    assert max(pieces) == (16 if asked is None else asked)
    torch.testing.assert_close(found.tokens, expected.tokens, **CLOSE)


@pytest.mark.parametrize(
    ("fps", "shape"), [(None, (2, 3, 61, 11)), (5, (2, 3, 4, 61, 11))], ids=SCALE_IDS
)
def test_networks_in_strips_of_a_row_equal_the_whole_picture(
    fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = perturbed(CONFIGS["nano"]()), random_pixels(*shape)
    levels = _levels(tok, pixels, fps)
    rows: list[int] = []
    heights: list[tuple[int, int]] = []

    def run(max_memory: int) -> tuple[Latents, list[Tensor]]:
        tok.max_memory = max_memory
        rows.clear()
        latents = tok.encode(pixels, fps=fps, levels=levels)
        decoded = [tok.decode(latents, size=(70, 12)), tok.reconstruct(latents)]
        decoded += [step.pixels for step in tok.decode_progressive(latents)]
        heights.append((min(rows), max(rows)))
        return latents, decoded

    for networks in (tok.encoder_networks, tok.decoder_networks):
        for network in networks.values():
            network.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[1]))
    whole, expected = run(2**40)
    small, decoded = run(1)
    reach = max(network.body.reach() for network in tok.decoder_networks.values())
    assert heights[0] == (17, 17)
    assert heights[1] == (reach + 1, 2 * reach + 1)
    torch.testing.assert_close(small.tokens, whole.tokens, **CLOSE)
    for ours, theirs in zip(decoded, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_three_equals_three_alone(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    levels = _levels(tok, pixels, fps)
    levels[1] = 2  # a sample with its own, uniform, layout
    together = tok.encode(pixels, fps=fps, levels=levels)
    decoded = tok.decode(together, size=(13, 12))
    for i in range(3):
        alone = tok.encode(pixels[i : i + 1], fps=fps, levels=levels[i : i + 1])
        n = alone.num_levels
        torch.testing.assert_close(alone.tokens[0], together.tokens[i, ..., :n, :], **CLOSE)
        assert not together.tokens[i, ..., n:, :].any()
        torch.testing.assert_close(tok.decode(alone, size=(13, 12))[0], decoded[i], **CLOSE)


@pytest.mark.parametrize(("fps", "shape"), SCALES, ids=SCALE_IDS)
@pytest.mark.parametrize("name", NAMES)
def test_another_sample_changes_nothing_at_all(
    name: str, fps: int | None, shape: tuple[int, ...]
) -> None:
    tok, pixels = model(name), random_pixels(*shape)
    levels = _levels(tok, pixels, fps)
    before = tok.encode(pixels, fps=fps, levels=levels)
    other = pixels.clone()
    other[1] = 1 - other[1]
    after = tok.encode(other, fps=fps, levels=levels)

    def differing(compare: Callable[[Latents], Tensor]) -> list[bool]:
        return (compare(before) != compare(after)).flatten(1).any(dim=1).tolist()

    assert differing(lambda latents: latents.tokens) == [False, True, False]
    assert differing(tok.decode) == [False, True, False]
    assert differing(tok.reconstruct) == [False, True, False]


@pytest.mark.parametrize("name", ["nano", "paper"])
def test_progress_reports_every_patch_once(name: str) -> None:
    tok, clip = perturbed(CONFIGS[name]()), random_pixels(2, 3, 6, 7, 11)
    reports: list[tuple[int, int]] = []
    tok.on_progress = lambda done, total: reports.append((done, total))
    latents = tok.encode(clip, fps=5, levels=_levels(model(name), clip, 5))
    patches = latents.levels.numel()
    assert sum(done for done, _ in reports) == patches
    assert {total for _, total in reports} == {patches}
    reports.clear()
    tok.decode(latents)
    assert sum(done for done, _ in reports) == patches
    assert {total for _, total in reports} == {patches}


def test_a_cuda_device_works_in_larger_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small ones it would wait for kernels to be launched, three times as many of them."""

    def ceiling(memory: float, device: str) -> int:
        properties = SimpleNamespace(total_memory=memory)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        return default_max_memory(torch.device(device))

    assert ceiling(80e9, "cuda") == 5_000_000_000
    assert ceiling(1e9, "cuda") == 2**29  # of a small one, what a CPU gets
    assert ceiling(80e9, "cpu") == 2**29


def test_an_asked_for_ceiling_comes_before_the_devices() -> None:
    tok = perturbed(CONFIGS["paper"]())
    assert tok._patch_stage().max_memory == 2**29
    tok.max_memory = 12345
    assert tok._patch_stage().max_memory == 12345


@given(
    tokens=st.integers(1, 10**6),
    width=st.integers(1, 512),
    pixels=st.integers(1, 10**7),
    element_size=st.sampled_from([2, 4, 8]),
    max_memory=st.integers(1, 2**34),
    on_cpu=st.booleans(),
)
def test_plans_keep_the_ceiling_but_for_a_single_patch(
    tokens: int, width: int, pixels: int, element_size: int, max_memory: int, on_cpu: bool
) -> None:
    plan = plan_work(tokens, width, pixels, element_size, max_memory, on_cpu=on_cpu)
    assert 1 <= plan.patches_at_once <= plan.patches_in_memory
    # What a piece holds at the least: its tokens, and its pixels before and after resampling.
    held = plan.patches_at_once * tokens * width * element_size
    copies = 2 * plan.patches_in_memory * pixels * element_size
    assert held <= max_memory or plan.patches_at_once == 1
    assert copies <= max_memory or plan.patches_in_memory == 1
    larger = plan_work(tokens, width, pixels, element_size, 2 * max_memory, on_cpu=on_cpu)
    assert larger.patches_at_once >= plan.patches_at_once
    assert larger.patches_in_memory >= plan.patches_in_memory


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=23),
    at_once=st.integers(1, 7),
)
def test_pieces_share_their_level_count_and_join_in_order(counts: list[int], at_once: int) -> None:
    values = torch.tensor(counts)
    pieces = list(by_level_count(values, at_once))
    for count, piece in pieces:
        assert 1 <= len(piece) <= at_once
        assert (values[piece] == count).all()
    joined = restore_order([(piece, piece * 11) for _, piece in pieces])
    assert torch.equal(joined, torch.arange(len(counts)) * 11)
