"""Settings, seeds and the start of processes: what is refused, and what draws depend on."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dcs_common.training
from dcs_common.training import (
    OptimizerConfig,
    Share,
    joined_world,
    sample_generators,
    seeded_generator,
)

from .toy_training import settings


def refused(message: str) -> Any:
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_public_names_exist() -> None:
    names = dcs_common.training.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(dcs_common.training, name) for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1, but is 0."),
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0."),
        ({"accumulate": -1}, "`accumulate` must be at least 1, but is -1."),
        ({"log_every": -1}, "`log_every` must be 0 or more, but is -1. 0 switches it off."),
        (
            {"checkpoint_every": -2},
            "`checkpoint_every` must be 0 or more, but is -2. 0 switches it off.",
        ),
        ({"ema_decay": 1.0}, "`ema_decay` must be in [0, 1), but is 1.0."),
        ({"clip_norm": 0.0}, "`clip_norm` must be positive or None, but is 0.0."),
        (
            {"explosion_factor": float("nan")},
            "`explosion_factor` must be positive or None, but is nan.",
        ),
        ({"parallel": "tensor"}, "`parallel` must be 'ddp' or 'fsdp', but is 'tensor'."),
        (
            {"precision": "float16"},
            "`precision` must be 'float32' or 'bfloat16', but is 'float16'.",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with refused(message):
        settings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning_rate": -0.1},
            "Learning rates and weight decay must be 0 or more and finite, but are -0.1, None "
            "and 0.0.",
        ),
        (
            {"matrix_learning_rate": float("inf")},
            "Learning rates and weight decay must be 0 or more and finite, but are 0.1, inf "
            "and 0.0.",
        ),
        (
            {"weight_decay": float("nan")},
            "Learning rates and weight decay must be 0 or more and finite, but are 0.1, None "
            "and nan.",
        ),
        (
            {"warmup_steps": -1},
            "`warmup_steps` must be 0 or more and `final_fraction` in [0, 1], but are -1 and 0.0.",
        ),
        (
            {"final_fraction": 1.5},
            "`warmup_steps` must be 0 or more and `final_fraction` in [0, 1], but are 0 and 1.5.",
        ),
        (
            {"betas": (0.9, 1.0)},
            "`betas` must be in [0, 1), but are (0.9, 1.0). The paper uses (0.9, 0.95).",
        ),
        ({"schedule": "linear"}, "`schedule` must be 'constant' or 'cosine', but is 'linear'."),
    ],
)
def test_optimisers_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with refused(message):
        OptimizerConfig(**{"learning_rate": 0.1, **change})


# ---------------------------------------------------------------------- seeds


def draw(generator: torch.Generator) -> list[int]:
    return torch.randint(2**31, (5,), generator=generator).tolist()


@given(start=st.integers(0, 9), size=st.integers(1, 9), cut=st.integers(0, 9), step=st.integers(0))
def test_a_sample_draws_the_same_in_any_share(start: int, size: int, cut: int, step: int) -> None:
    stop, middle = start + size, min(start + cut, start + size)
    whole = sample_generators(3, Share(step, start, stop, 100), "noise")
    parts = [
        *sample_generators(3, Share(step, start, middle, 100), "noise"),
        *sample_generators(3, Share(step, middle, stop, 100), "noise"),
    ]
    assert [draw(g) for g in whole] == [draw(g) for g in parts]


def test_every_part_of_the_key_counts() -> None:
    keys = [(3, "noise", 5, 7), (4, "noise", 5, 7), (3, "crop", 5, 7), (3, "noise", 6, 7)]
    keys += [(3, "noise", 5, 8), (3, "noise", 7, 5), (3, "noise", 57), ("3", "noise", 5, 7), ()]
    drawn = [tuple(draw(seeded_generator(*key))) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn == [tuple(draw(seeded_generator(*key))) for key in keys]


def test_a_seed_is_the_same_everywhere() -> None:
    """Golden: a run must go on on another machine."""
    assert draw(seeded_generator(3, "noise", 5, 7)) == [
        621863059,
        1563090145,
        887746398,
        391161472,
        685296675,
    ]


# ---------------------------------------------------------------------- processes


def test_without_torchrun_a_process_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined_world() as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.device == torch.device("cpu")
        assert world.any(True) and not world.any(False)
        assert world.means({"b": 2.5, "a": torch.tensor(3)}) == {"a": 3.0, "b": 2.5}
        assert world.means({}) == {}
        world.wait()
    assert not torch.distributed.is_initialized()


def test_processes_need_all_of_torchruns_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    message = (
        "A run of 2 processes (WORLD_SIZE) must have RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, "
        "MASTER_PORT in its environment, but lacks LOCAL_RANK, MASTER_ADDR, MASTER_PORT. "
        "Start it with torchrun."
    )
    with refused(message), joined_world():
        pass


def test_a_process_needs_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = (
        "Each process of a machine must have a CUDA device of its own, but process 3 (from 0) "
        "finds 2. Start fewer processes, or use `--device cpu`."
    )
    with refused(message), joined_world("cuda"):
        pass
