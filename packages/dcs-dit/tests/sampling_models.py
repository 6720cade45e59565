"""Small generators to sample from, what watches them run, and requests of every kind.

Latents come out in float32; what equality is held to in float64 is the normalised tokens behind
them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import torch
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.kv_cache import KeyValueCache, LayerCache
from dcs_dit import DCSDiT, GenerationStep, TextStates, sample, sample_progressive
from dcs_dit.model import Placement

from .small_dit import CHANNELS, CLIP, KINDS, LABELS, LEVELS, TEXT_WIDTH, fresh, lively, randn
from .small_dit import small_config as small_config

EXACT = {"rtol": 0, "atol": 1e-9}
"""What float64 is held to, in deviations."""
SINGLE = {"rtol": 0, "atol": 1e-3}
"""What `sample_progressive` states for float32, in deviations."""
CACHES = ("device", "cpu", "recompute", "copied")
"""Kinds of cache; "copied" is the way of keys and values to another device and back."""
MODELS: dict[str, dict[str, Any]] = {
    **KINDS,
    "clip": {"grid": CLIP, "fps": 12, "segments_per_second": 3},
}


def perturbed(dtype: torch.dtype = torch.float64, seed: int = 0, **changes: Any) -> DCSDiT:
    """Build a generator with all weights at random, and statistics of latents far from 0 and 1."""
    dit = lively(fresh(small_config(**changes), seed), seed)
    dit.latent_mean.copy_(3 * randn(*dit.latent_mean.shape, seed=seed + 1))
    dit.latent_std.copy_(randn(*dit.latent_std.shape, seed=seed + 2).exp())
    return dit.to(dtype).eval()


@lru_cache
def model(kind: str = "plain", dtype: torch.dtype = torch.float64) -> DCSDiT:
    """Return a generator that tests share and leave as it is."""
    return perturbed(dtype, **MODELS[kind])


def texts(count: int, seed: int = 0) -> TextStates:
    """Draw states of texts of different lengths, "no text" among them from the third on."""
    return TextStates(randn(count, 3, TEXT_WIDTH, seed=seed), 3 - torch.arange(count) % 4)


# ---------------------------------------------------------------------- what a run does


@dataclass
class Seen:
    """What a generator was asked, call by call.

    Attributes:
        samples: of each evaluation, both branches of guidance counted.
        tokens: of each evaluation.
        conditions: samples of each call.
        caches: all that were filled.
        normalised: what was denormalised.
    """

    samples: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    conditions: list[int] = field(default_factory=list)
    caches: dict[int, KeyValueCache] = field(default_factory=dict)
    normalised: list[Tensor] = field(default_factory=list)


@contextmanager
def watching() -> Iterator[Seen]:
    """Watch all generators."""
    seen = Seen()
    velocity, conditions, denormalise = DCSDiT.velocity, DCSDiT.conditions, DCSDiT.denormalise

    def watched_velocity(
        dit: DCSDiT,
        sequence: Tensor,
        placement: Placement,
        given: Any,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        seen.samples.append(placement.layout.shape[0])
        seen.tokens.append(len(sequence))
        if cache is not None:
            seen.caches[id(cache)] = cache
        return velocity(dit, sequence, placement, given, cache)

    def watched_conditions(dit: DCSDiT, time: Tensor, *rest: Any, **named: Any) -> Any:
        seen.conditions.append(len(time))
        return conditions(dit, time, *rest, **named)

    def watched_denormalise(dit: DCSDiT, tokens: Tensor) -> Tensor:
        seen.normalised.append(tokens)
        return denormalise(dit, tokens)

    with (
        patch.object(DCSDiT, "velocity", watched_velocity),
        patch.object(DCSDiT, "conditions", watched_conditions),
        patch.object(DCSDiT, "denormalise", watched_denormalise),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of grids beyond training
        yield seen


def joint(dit: DCSDiT, **request: Any) -> Tensor:
    """Sample all levels at once; return the normalised tokens (b, t, h, w, n, c)."""
    with watching() as seen:
        sample(dit, **request)
    (tokens,) = seen.normalised
    return tokens


def progressive(dit: DCSDiT, cache: str = "device", **request: Any) -> list[GenerationStep]:
    """Sample coarse to fine with a kind of cache from :data:`CACHES`; return all steps."""
    with warnings.catch_warnings(), patch.object(LayerCache, "_is_here", _is_here(cache)):
        warnings.simplefilter("ignore")
        kind = "device" if cache == "copied" else cache
        return list(sample_progressive(dit, cache=kind, **request))  # type: ignore[arg-type]


def _is_here(cache: str) -> Any:
    return (lambda _self, _tensor: False) if cache == "copied" else LayerCache._is_here


def tokens_of(step: GenerationStep) -> Tensor:
    """Return the normalised tokens (b, t, h, w, n, c) of a step."""
    last = torch.stack([trajectory[-1] for trajectory in step.state.trajectories], dim=2)
    return last.unflatten(1, step.state.request.grid)


# ---------------------------------------------------------------------- requests


@st.composite
def requests(
    draw: st.DrawFn, kinds: tuple[str, ...] = tuple(sorted(MODELS))
) -> tuple[str, dict[str, Any]]:
    """Draw a kind of model, and what is asked of it."""
    kind = draw(st.sampled_from(kinds))
    b = draw(st.integers(1, 3))
    most = 3 if kind == "clip" else 1
    request: dict[str, Any] = {
        "grid": (draw(st.integers(1, most)), draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        "levels": draw(st.integers(1, LEVELS)),
        "steps": draw(st.integers(1, 5)),
        "time_shift": draw(st.sampled_from([0.3, 1.0, 4.0])),
        "seeds": draw(st.lists(st.integers(-(2**63), 2**64), min_size=b, max_size=b)),
    }
    has_text = kind == "text" and draw(st.booleans())
    if has_text:
        request["texts"] = texts(b, seed=draw(st.integers(0, 99)))
    if draw(st.booleans()):
        classes = st.integers(0, len(LABELS) - 1)
        request["labels"] = draw(st.lists(classes, min_size=b, max_size=b))
    if has_text or "labels" in request:
        request["guidance_scale"] = draw(st.sampled_from([0.0, 1.0, 2.5, 6.0]))
        request["guidance_interval"] = draw(st.sampled_from([(0.0, 1.0), (0.1, 1.0), (0.3, 0.6)]))
        request["guidance_channels"] = draw(st.sampled_from([None, 1, 3, CHANNELS]))
    return kind, request
