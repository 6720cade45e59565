"""The generator equals one masked softmax a sample, whatever the samples' level counts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from dcs_common.kv_cache import KeyValueCache
from dcs_common.token_layout import TokenLayout
from dcs_dit import DCSDiT

from .small_dit import (
    CHANNELS,
    CLIP,
    CLOSE,
    KINDS,
    LABELS,
    LEVELS,
    PICTURE,
    changed,
    fresh,
    inputs,
    lively,
    model,
    plain_velocity,
    randn,
    small_config,
)

COUNTS = st.lists(st.integers(1, LEVELS), min_size=1, max_size=5)


@given(
    levels=COUNTS,
    kind=st.sampled_from(sorted(KINDS)),
    grid=st.sampled_from([PICTURE, CLIP]),
    seed=st.integers(0, 1000),
)
def test_a_batch_of_mixed_level_counts_equals_the_masked_reference(
    levels: list[int], kind: str, grid: tuple[int, int, int], seed: int
) -> None:
    dit, given_ = model(kind), inputs(levels, kind, grid, seed)
    found = given_.velocity(dit)
    torch.testing.assert_close(found, plain_velocity(dit, given_), **CLOSE)
    is_active = torch.arange(LEVELS) < given_.levels[:, None, None, None, None]
    assert torch.equal((found != 0).any(dim=-1), is_active.expand(found.shape[:-1]))


@given(levels=COUNTS, kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_samples_alone_and_in_any_order_are_what_they_are_in_a_batch(
    levels: list[int], kind: str, data: st.DataObject
) -> None:
    dit, together = model(kind), inputs(levels, kind)
    whole = together.velocity(dit)
    for i in range(len(levels)):
        alone = together[i : i + 1].velocity(dit)
        torch.testing.assert_close(alone, whole[i : i + 1], **CLOSE)
    order = torch.tensor(data.draw(st.permutations(range(len(levels)))))
    torch.testing.assert_close(together[order].velocity(dit), whole[order], **CLOSE)


@pytest.mark.parametrize("other", [0, 2, 3])
def test_batch_mates_do_not_matter(other: int) -> None:
    """Groups of the layout are samples 0 and 2, 1, and 3."""
    dit, together = model("text"), inputs([2, 4, 2, 1], "text")
    before = together.velocity(dit)
    text = replace(together.text, states=changed(together.text.states, other))
    after = replace(
        together,
        noised=changed(together.noised, other),
        time=torch.where(torch.arange(4) == other, 0.3, together.time),
        labels=torch.where(torch.arange(4) == other, 0, together.labels),
        text=text,
    ).velocity(dit)
    mates = torch.arange(4) != other
    assert torch.equal(after[mates], before[mates])
    assert (after[other] != before[other]).any()


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("m", range(1, LEVELS))
def test_the_first_levels_are_those_of_a_pass_over_them_alone(m: int, kind: str) -> None:
    dit, full = model(kind), inputs([LEVELS] * 3, kind)
    expected = full.velocity(dit)[..., :m, :]
    few = torch.full((3,), m)
    masked = replace(full, levels=few).velocity(dit)
    torch.testing.assert_close(masked[..., :m, :], expected, **CLOSE)
    assert not masked[..., m:, :].any()
    cut = replace(full, noised=full.noised[..., :m, :], levels=few).velocity(dit)
    assert cut.shape == (3, *PICTURE, m, CHANNELS)
    torch.testing.assert_close(cut, expected, **CLOSE)


def test_what_lies_above_a_sample_s_level_count_is_not_looked_at() -> None:
    dit, together = model(), inputs([2, 4, 1])
    noised = together.noised.clone()
    noised[0, ..., 2:, :] = torch.nan
    noised[2, ..., 1:, :] = torch.inf
    found = replace(together, noised=noised).velocity(dit)
    assert torch.equal(found, together.velocity(dit))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fresh_model_says_zero_and_learns(kind: str) -> None:
    dit, together = fresh(small_config(**KINDS[kind])).double(), inputs([2, 4, 1], kind)
    velocity = together.velocity(dit)
    assert not velocity.any()
    (velocity - randn(*velocity.shape)).square().sum().backward()
    gradient = dit.tokens_out.linear.weight.grad.unflatten(0, (LEVELS, CHANNELS))
    assert (gradient != 0).any(dim=2).all()


def test_rows_and_columns_are_no_exchange() -> None:
    """A model that ignored positions would return the transposed velocity."""
    dit, together = model(), inputs([LEVELS], grid=(1, 3, 3))
    turned = replace(together, noised=together.noised.transpose(2, 3)).velocity(dit)
    assert (turned.transpose(2, 3) - together.velocity(dit)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_recomputed_activations_give_the_same_gradients(kind: str) -> None:
    dit, together = lively(fresh(small_config(**KINDS[kind]))).double(), inputs([3, 1, 3], kind)
    found, kept = [], []
    for dit.checkpoint_activations in (False, True):
        size = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal size
            size += tensor.numel()
            return tensor

        dit.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            velocity = together.velocity(dit)
        kept.append(size)
        velocity.square().mean().backward()
        found.append({n: p.grad for n, p in dit.named_parameters() if p.grad is not None})
    assert kept[1] < kept[0] / 2
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert gradient.any(), name
        torch.testing.assert_close(found[1][name], gradient, **CLOSE)


def test_every_parameter_learns() -> None:
    dit, together = lively(fresh(small_config(**KINDS["text"]))).double(), inputs([4, 2], "text")
    together.velocity(dit).square().mean().backward()
    silent = {n for n, p in dit.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == set()


@pytest.mark.parametrize("grid", [PICTURE, CLIP])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_level_by_level_on_cached_keys_equals_all_at_once(
    kind: str, grid: tuple[int, int, int]
) -> None:
    dit, together = model(kind), inputs([LEVELS, LEVELS], kind, grid)
    layout = TokenLayout.of(torch.full((2, *grid), LEVELS))
    conditions = dit.conditions(together.time, together.labels, together.text)
    cache, found = KeyValueCache(dit.config.blocks), torch.zeros_like(together.noised)
    with torch.no_grad():
        for level in range(LEVELS):
            part = layout.at_level(level)
            sequence = part.gather(together.noised)
            found += part.scatter(dit.velocity(sequence, dit.place(part), conditions, cache))
        torch.testing.assert_close(found, together.velocity(dit), **CLOSE)


# ---------------------------------------------------------------------- latents, optimiser, folder


@given(levels=st.integers(1, LEVELS), seed=st.integers(0, 1000))
def test_normalising_uses_each_level_s_own_statistics(levels: int, seed: int) -> None:
    dit = fresh()
    dit.latent_mean.copy_(randn(LEVELS, CHANNELS, seed=seed))
    dit.latent_std.copy_(randn(LEVELS, CHANNELS, seed=seed + 1).exp())
    dit.double()
    tokens = randn(2, *PICTURE, levels, CHANNELS, seed=seed + 2)
    found = dit.normalise(tokens)
    for i in range(levels):
        for c in range(CHANNELS):
            expected = (tokens[..., i, c] - dit.latent_mean[i, c]) / dit.latent_std[i, c]
            assert torch.equal(found[..., i, c], expected)
    torch.testing.assert_close(dit.denormalise(found), tokens, **CLOSE)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_hidden_matrices_are_those_of_the_blocks(kind: str) -> None:
    dit = fresh(small_config(**KINDS[kind]))
    parts = ["attention.qkv", "attention.out", "feed_forward.gate_and_value", "feed_forward.out"]
    if kind == "text":
        parts += [f"text_attention.{part}" for part in ("query", "key_value", "out")]
    expected = {f"blocks.{i}.{part}.weight" for i in range(2) for part in parts}
    assert set(dit.hidden_matrices()) == expected
    assert len(dit.hidden_matrices()) == len(expected)


def _with_statistics() -> DCSDiT:
    config = small_config(
        tokenizer="0123456789abcdef", tokenizer_model="toy-nano", trained_levels=2, **KINDS["text"]
    )
    dit = lively(fresh(config))
    dit.latent_mean.copy_(randn(LEVELS, CHANNELS, seed=7))
    dit.latent_std.copy_(randn(LEVELS, CHANNELS, seed=8).exp())
    return dit


def test_a_folder_gives_back_the_same_model(tmp_path: Path) -> None:
    dit, together = _with_statistics(), inputs([3, 1], "text")
    dit.save_pretrained(tmp_path)
    loaded = DCSDiT.from_pretrained(tmp_path)
    assert loaded.config == dit.config
    assert loaded.config.labels == LABELS
    assert not loaded.training
    expected = dit.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert {"latent_mean", "latent_std"} <= expected.keys()
    with torch.no_grad():
        found = together.velocity(loaded.double())
        assert torch.equal(found, together.velocity(dit.double().eval()))


def test_a_folder_in_float16_is_half_as_large_and_loads_in_float32(tmp_path: Path) -> None:
    dit = _with_statistics()
    dit.save_pretrained(tmp_path / "float32")
    dit.save_pretrained(tmp_path / "float16", dtype=torch.float16)
    sizes = [
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("float16", "float32")
    ]
    assert sizes[0] < 0.6 * sizes[1]
    stored = load_file(tmp_path / "float16" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded = DCSDiT.from_pretrained(tmp_path / "float16")
    assert loaded.config == dit.config
    for name, tensor in dit.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        assert torch.equal(found, tensor.half().float()), name
    # Saving rounds nothing in the model that is saved.
    assert {parameter.dtype for parameter in dit.parameters()} == {torch.float32}


def test_the_fingerprint_names_weights_and_statistics(tmp_path: Path) -> None:
    dit = _with_statistics()
    names = []
    for number in range(3):
        if number == 1:
            dit.latent_std[0, 0] += 1
        if number == 2:
            dit.tokens_out.linear.bias.data[0] += 1
        dit.save_pretrained(tmp_path / str(number))
        names.append(DCSDiT.from_pretrained(tmp_path / str(number)).fingerprint)
    assert len(set(names)) == 3
    assert DCSDiT.from_pretrained(tmp_path / "0").fingerprint == names[0]
    assert DCSDiT.from_pretrained(tmp_path / "0").train().fingerprint is None
