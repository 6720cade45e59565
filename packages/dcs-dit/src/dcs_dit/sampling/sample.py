r"""``sample`` and ``sample_progressive``: all levels at once, or coarse to fine (Fig. 5, 10).

    joint         step 1: levels 1..n   step 2: levels 1..n   ...  -> all levels
    progressive   level 1: steps 1..S -> preview   level 2: steps 1..S on level 1's cache -> ...

Level causality makes them equal: at every step level i sees the same keys and values of levels
below, computed with it or kept from before. The total work is the same, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_common.kv_cache import KeyValueCache
from dcs_common.latents import Latents
from dcs_common.pretrained import fingerprint
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.latents import to_latents
from dcs_dit.sampling.memory import CacheKind, check_memory
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.request import (
    Label,
    SamplingRequest,
    check_count,
    check_grid,
    check_guidance,
    check_labels,
    check_levels,
)
from dcs_dit.sampling.settings import SamplingSettings
from dcs_dit.sampling.solver import Progress, Solver
from dcs_dit.sampling.state import GenerationState
from dcs_dit.text import TextEncoder, TextStates


@dataclass(frozen=True, eq=False, slots=True)
class GenerationStep:
    """A preview: the latents of all levels up to ``level``, and what it takes to go on later."""

    level: int
    latents: Latents
    state: GenerationState


def make_request(
    dit: DCSDiT,
    *,
    labels: Label | Sequence[Label] | Tensor | None = None,
    texts: Sequence[str] | TextStates | None = None,
    text_encoder: TextEncoder | None = None,
    grid: Sequence[int] | None = None,
    levels: int | None = None,
    steps: int = 50,
    guidance_scale: float | None = None,
    guidance_interval: tuple[float, float] = (0.1, 1.0),
    guidance_channels: int | None = None,
    time_shift: float = 1.0,
    num_samples: int | None = None,
    seeds: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> SamplingRequest:
    """Check what is asked for; see :func:`sample`."""
    config = dit.config
    indices = check_labels(labels, config)
    if isinstance(texts, str):
        texts = [texts]
    count = check_count(
        {
            "labels": None if indices is None else len(indices),
            "texts": None
            if texts is None
            else len(texts.lengths if isinstance(texts, TextStates) else texts),
            "seeds": None if seeds is None else len(seeds),
            "num_samples": num_samples,
        }
    )
    text = _text_states(texts, text_encoder, dit)
    is_conditional = indices is not None or text is not None
    settings = SamplingSettings(
        steps=steps,
        guidance_scale=check_guidance(guidance_scale, config, is_conditional=is_conditional),
        guidance_interval=guidance_interval,
        guidance_channels=guidance_channels,
        time_shift=time_shift,
    )
    if seeds is None:
        base = torch.randint(2**62, (), generator=generator, device=_device_of(generator))
        seeds = sample_seeds(int(base), count)
    return SamplingRequest(
        grid=check_grid(grid, config),
        levels=check_levels(levels, config),
        seeds=tuple(int(seed) for seed in seeds),
        labels=indices,
        text=text,
        settings=settings,
    )


def _device_of(generator: torch.Generator | None) -> torch.device | None:
    return None if generator is None else generator.device


def _text_states(
    texts: Sequence[str] | TextStates | None, encoder: TextEncoder | None, dit: DCSDiT
) -> TextStates | None:
    width = dit.config.text_width
    if texts is None:
        return None
    if width is None:
        raise ValueError(
            "`texts` must be None for a model without text, but are given. Leave them out, or "
            "load a text-conditional model."
        )
    if not isinstance(texts, TextStates):
        if encoder is None:
            raise ValueError(
                "`texts` need the `text_encoder` that the model was trained with, but there is "
                "none. Pass one, or the texts' states as `TextStates`."
            )
        texts = encoder.encode(texts)
    if texts.states.shape[-1] != width:
        raise ValueError(
            f"Text states must have the width {width} that the model was trained with, but have "
            f"{texts.states.shape[-1]}. Use the text encoder that it was trained with."
        )
    like = dit.norm.weight
    return TextStates(texts.states.to(like), texts.lengths.to(like.device))


@torch.no_grad()
def sample(
    dit: DCSDiT,
    *,
    labels: Label | Sequence[Label] | Tensor | None = None,
    texts: Sequence[str] | TextStates | None = None,
    text_encoder: TextEncoder | None = None,
    grid: Sequence[int] | None = None,
    levels: int | None = None,
    steps: int = 50,
    guidance_scale: float | None = None,
    guidance_interval: tuple[float, float] = (0.1, 1.0),
    guidance_channels: int | None = None,
    time_shift: float = 1.0,
    num_samples: int | None = None,
    seeds: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
    on_progress: Progress | None = None,
) -> Latents:
    """Generate latents, all levels at once.

    Args:
        dit: the generator, on any device and in any precision.
        labels: names or numbers of classes, one for each sample; None for no class.
        texts: texts, or their states, one for each sample; None for no text.
        text_encoder: encodes ``texts``.
        grid: (segments, rows, columns) or (rows, columns); default: the trained one. It sets
            aspect ratio and duration.
        levels: how many; default: all trained ones. It sets quality.
        steps: of Euler's method; each evaluates the model once.
        guidance_scale: 1 is no guidance; default: the model's own.
        guidance_interval, guidance_channels, time_shift:
            see :class:`~dcs_dit.sampling.settings.SamplingSettings`.
        num_samples: how many, where nothing else says so.
        seeds: one for each sample. A sample's noise depends on its seed and level alone.
        generator: draws the seed of the batch where ``seeds`` are not given; sample i depends on
            that seed and i.
        on_progress: called with (steps done, steps in all).

    Returns:
        Latents in the tokenizer's units, with its fingerprint; they decode at any size.

    Raises:
        ValueError: if the request cannot be met.
    """
    request = make_request(
        dit,
        labels=labels,
        texts=texts,
        text_encoder=text_encoder,
        grid=grid,
        levels=levels,
        steps=steps,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        guidance_channels=guidance_channels,
        time_shift=time_shift,
        num_samples=num_samples,
        seeds=seeds,
        generator=generator,
    )
    solver = Solver(dit, request)
    x = torch.cat([solver.noise(level) for level in range(1, request.levels + 1)], dim=1)
    for step in range(steps):
        x = solver.advance(x, solver.velocity(x, step), step)
        if on_progress is not None:
            on_progress(step + 1, steps)
    return to_latents(dit, x.chunk(request.levels, dim=1), request.grid)


def sample_progressive(
    dit: DCSDiT,
    *,
    state: GenerationState | None = None,
    cache: CacheKind = "device",
    levels: int | None = None,
    on_progress: Progress | None = None,
    **request: object,
) -> Iterator[GenerationStep]:
    """Generate latents coarse to fine: yield them after level 1, after level 2, and so on.

    With the same seeds the result equals :func:`sample`'s up to rounding, which 50 steps amplify:
    within 1e-9 of a deviation in float64 and 1e-3 in float32.

    Args:
        dit: the generator.
        state: of an earlier run, to go on from; its request then stands, but for ``levels``.
        cache: where keys and values of finished levels are kept: on the model's "device", on the
            "cpu", or nowhere ("recompute": computed again from the latents' trajectory, for
            (1 + ... + n) / n times the work).
        levels: how many in the end; default: all trained ones, or the state's.
        on_progress: called with (steps done, steps in all) over the levels to come.
        **request: as for :func:`sample`.

    Yields:
        A step for each level. To stop, stop iterating; ``step.state.save(path)`` and ``state``
        go on later, in another process, too.

    Raises:
        ValueError: if the request cannot be met, the cache does not fit into memory, or the state
            is another model's. It is raised by the call, before the first level.
    """
    name = dit.fingerprint or fingerprint(config_to_dict(dit.config), dict(dit.state_dict()))
    if state is None:
        asked = make_request(dit, levels=levels, **request)  # type: ignore[arg-type]
        state = GenerationState(request=asked, model=name, trajectories=())
    else:
        _check_state(state, name, dit, request)
        if levels is not None:
            state = state.with_levels(check_levels(levels, dit.config))
        if state.request.levels <= state.level:
            raise ValueError(
                f"`levels` must be more than the {state.level} that the state has finished, but "
                f"are {state.request.levels}. Ask for more, or use its latents as they are."
            )
    check_memory(cache, dit.config, state.request, dit.norm.weight)
    return _levels(dit, state, cache, on_progress)


def _check_state(
    state: GenerationState, name: str, dit: DCSDiT, request: dict[str, object]
) -> None:
    if request:
        raise ValueError(
            f"A state holds its request, but {', '.join(f'`{key}`' for key in request)} "
            f"{'is' if len(request) == 1 else 'are'} given beside it. Leave them out."
        )
    if state.model != name:
        raise ValueError(
            f"A state must be of the model that goes on with it, but it is of {state.model} and "
            f"the model is {name}. Load the model that it was begun with."
        )


@torch.no_grad()
def _levels(
    dit: DCSDiT, state: GenerationState, kind: CacheKind, on_progress: Progress | None
) -> Iterator[GenerationStep]:
    request = state.request
    solver = Solver(dit, request)
    steps, first = request.settings.steps, state.level + 1
    storage = torch.device("cpu") if kind == "cpu" else None
    caches = [KeyValueCache(dit.config.blocks, storage) for _ in range(steps)]
    trajectories = [part.to(solver.device, solver.dtype) for part in state.trajectories]
    total = steps * (request.levels - first + 1)
    for level in range(first, request.levels + 1):
        x = solver.noise(level)
        passed = [x]
        for step in range(steps):
            kept = caches[step] if kind != "recompute" else KeyValueCache(dit.config.blocks)
            if kind == "recompute" or level == first:  # nothing is kept yet
                for lower, trajectory in enumerate(trajectories, start=1):
                    solver.velocity(trajectory[step], step, lower, kept)
            x = solver.advance(x, solver.velocity(x, step, level, kept), step)
            passed.append(x)
            if on_progress is not None:
                on_progress((level - first) * steps + step + 1, total)
        trajectories.append(torch.stack(passed))
        finished = GenerationState(
            request=request, model=state.model, trajectories=tuple(trajectories)
        )
        latents = to_latents(dit, [part[-1] for part in trajectories], request.grid)
        yield GenerationStep(level, latents, finished)
