"""Batches depend on the seed and the step alone, and every epoch holds every sample once."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_common.training import Share
from dcs_dit.data import LatentBatch, LatentCache, LatentSource

from .labelled_files import SMALL, class_folder, flat_folder, make_cache, table


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    folder = tmp_path_factory.mktemp("source")
    make_cache(folder / "cache", [class_folder(folder / "pictures")])
    return LatentCache.open(folder / "cache")


def whole_steps(cache: LatentCache, seed: int, steps: range, size: int) -> list[LatentBatch]:
    shares = [Share(step, 0, size, size) for step in steps]
    return list(LatentSource(cache, seed).batches(shares))


@given(
    seed=st.integers(0, 100),
    step=st.integers(0, 50),
    size=st.integers(1, 40),
    data=st.data(),
)
def test_a_step_may_be_divided_in_any_way(
    cache: LatentCache, seed: int, step: int, size: int, data: st.DataObject
) -> None:
    (whole,) = whole_steps(cache, seed, range(step, step + 1), size)
    edges = sorted({0, size, *data.draw(st.sets(st.integers(0, size)))})
    shares = [Share(step, start, stop, size) for start, stop in pairwise(edges)]
    parts = list(LatentSource(cache, seed).batches(shares))
    assert [len(part) for part in parts] == [share.stop - share.start for share in shares]
    assert torch.equal(torch.cat([part.tokens for part in parts]), whole.tokens)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)


@pytest.mark.parametrize("size", [1, 5, 16, 17, 40])
def test_every_epoch_holds_every_sample_once(cache: LatentCache, size: int) -> None:
    batches = whole_steps(cache, 3, range(3 * 17), size)
    rows = torch.cat([batch.tokens for batch in batches]).flatten(1)
    every = cache.tokens(range(17)).flatten(1)
    found = (rows[:, None] == every).all(dim=2).int().argmax(dim=1)
    epochs = found[: len(found) // 17 * 17].view(-1, 17)
    assert len(epochs) >= 3
    assert all(sorted(epoch.tolist()) == list(range(17)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_a_run_that_is_continued_sees_what_it_would_have_seen(cache: LatentCache) -> None:
    whole = whole_steps(cache, 1, range(12), 6)
    continued = whole_steps(cache, 1, range(7, 12), 6)
    for first, second in zip(whole[7:], continued, strict=True):
        assert torch.equal(first.tokens, second.tokens)


def test_another_seed_is_another_order(cache: LatentCache) -> None:
    (first,), (second,) = (whole_steps(cache, seed, range(1), 17) for seed in (0, 1))
    assert not torch.equal(first.tokens, second.tokens)


def test_batches_carry_labels_and_captions(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 7)
    rows = [[f"{i}.png", f"class {i}", f"number {i}"] for i in range(7)]
    labels = table(tmp_path / "labels.csv", ["name", "class", "caption"], *rows)
    make_cache(tmp_path / "cache", [folder], SMALL, labels=labels)
    cache = LatentCache.open(tmp_path / "cache")
    (batch,) = whole_steps(cache, 0, range(1), 7)
    assert batch.captions == tuple(f"number {label}" for label in batch.labels.tolist())
    assert torch.equal(batch.tokens, cache.tokens(batch.labels.tolist()))
    assert len(batch) == 7


def test_a_batch_moves_to_a_device(cache: LatentCache) -> None:
    (batch,) = whole_steps(cache, 0, range(1), 2)
    moved = batch.to("meta")
    assert moved.tokens.device.type == moved.labels.device.type == "meta"
    assert moved.captions is None


def test_a_source_names_its_data(cache: LatentCache) -> None:
    assert LatentSource(cache, 0).fingerprint == cache.fingerprint
