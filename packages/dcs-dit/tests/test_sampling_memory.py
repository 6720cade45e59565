"""How much memory keys and values take, told before a run begins."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_dit import DCSDiT, sample_progressive
from dcs_dit.sampling import memory

from .labelled_files import error
from .sampling_models import model, progressive, requests, watching

GIB = 2**30


def held(dit: DCSDiT, cache: str = "device", **request: Any) -> tuple[int, int]:
    """Run; return the bytes in all caches, and those that were foretold."""
    with watching() as seen:
        *_, last = progressive(dit, cache, **request)
    size = dit.norm.weight.element_size()
    foretold = memory.cache_bytes(dit.config, last.state.request, size)
    return sum(cache.num_bytes() for cache in seen.caches.values()), foretold


@given(asked=requests(), cache=st.sampled_from(["device", "cpu", "copied"]))
def test_it_is_as_much_as_the_caches_hold_in_the_end(
    asked: tuple[str, dict[str, Any]], cache: str
) -> None:
    kind, request = asked
    found, foretold = held(model(kind), cache, **request)
    assert found == foretold
    assert (found == 0) == (request["levels"] == 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_counts_steps_branches_blocks_levels_and_precision(dtype: torch.dtype) -> None:
    """Of 10 steps those from t = 0.1 on have two branches; the last level is not kept."""
    dit = model("plain", dtype)
    request = {"labels": [0, 1], "grid": (2, 3), "levels": 3, "steps": 10}
    found, foretold = held(dit, **request)
    tokens = 2 * (2 * 3) * (3 - 1)
    assert found == foretold == (10 + 9) * tokens * 2 * 2 * 32 * dtype.itemsize


def test_a_run_that_goes_on_holds_as_much() -> None:
    request = {"labels": [1], "steps": 4}
    found, _ = held(model(), **request)
    state = progressive(model(), **request)[1].state
    assert held(model(), state=state) == (found, found)


def foretell(monkeypatch: pytest.MonkeyPatch, free: int) -> list[torch.device]:
    """Let so many bytes be free; return the devices that are asked for them."""
    asked: list[torch.device] = []

    def free_memory(device: torch.device) -> int:
        asked.append(device)
        return free

    monkeypatch.setattr(memory, "free_memory", free_memory)
    return asked


LARGE = {"labels": ["fox"] * 3, "steps": 50}
"""3 samples of 15 patches, 3 levels that are kept, 50 steps of which 45 are guided."""


def needed(guided: bool = True) -> int:
    return (50 + 45 * guided) * 3 * 15 * 3 * 2 * 2 * 32 * 8


@pytest.mark.parametrize("cache", ["device", "cpu"])
def test_too_little(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = foretell(monkeypatch, needed() - 1)
    with error(
        "The keys and values of 3 levels must fit into the memory of cpu, but need "
        f"{needed() / GIB:.1f} GiB and {(needed() - 1) / GIB:.1f} GiB are free. Use the cache "
        "'recompute', which keeps none and computes lower levels again; or ask for fewer samples, "
        "steps or levels, a model in bfloat16, or no guidance."
    ):
        sample_progressive(model(), cache=cache, **LARGE)
    assert asked == [torch.device("cpu")]
    foretell(monkeypatch, needed())
    sample_progressive(model(), cache=cache, **LARGE)


def test_too_little_without_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    foretell(monkeypatch, needed(guided=False) - 1)
    with pytest.raises(ValueError, match=r"steps or levels, a model in bfloat16\.$"):
        sample_progressive(model(), guidance_scale=1, **LARGE)
    foretell(monkeypatch, needed(guided=False))
    sample_progressive(model(), guidance_scale=1, **LARGE)


def test_a_device_that_is_not_the_host_offers_both(monkeypatch: pytest.MonkeyPatch) -> None:
    request = progressive(model(), labels=["fox"], steps=1)[0].state.request
    asked = foretell(monkeypatch, 3 * GIB)
    on_device = torch.empty(1, device="meta")  # a GPU is not needed to ask
    config = type(model().config)(width=2**20, heads=1, blocks=100, labels=("bee", "fox", "owl"))
    with error(
        "The keys and values of 3 levels must fit into the memory of meta, but need "
        f"{memory.cache_bytes(config, request, 4) / GIB:.1f} GiB and 3.0 GiB are free. Use the "
        "cache 'cpu' (on the host, slower) or 'recompute' (none, slower still); or ask for fewer "
        "samples, steps or levels, a model in bfloat16, or no guidance."
    ):
        memory.check_memory("device", config, request, on_device)
    with pytest.raises(ValueError, match=r"the memory of cpu, .* Use the cache 'recompute', "):
        memory.check_memory("cpu", config, request, on_device)
    assert [device.type for device in asked] == ["meta", "cpu"]


def test_recomputing_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = foretell(monkeypatch, 0)
    assert len(progressive(model(), "recompute", labels=["fox"], steps=1)) == 4
    assert asked == []
    assert len(progressive(model(), "device", levels=1, steps=1)) == 1


def test_a_state_that_asks_for_more_levels_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    state = progressive(model(), labels=["fox"], steps=1, levels=2)[-1].state
    foretell(monkeypatch, 1)
    with pytest.raises(ValueError, match=r"^The keys and values of 3 levels must fit"):
        sample_progressive(model(), state=state, levels=4)


def test_free_memory_of_the_host_is_a_number_of_bytes() -> None:
    assert memory.free_memory(torch.device("cpu")) > 2**20
