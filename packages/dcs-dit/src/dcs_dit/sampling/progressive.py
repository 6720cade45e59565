r"""``sample_progressive``: coarse to fine, at the price of all levels at once (Fig. 5, 10).

    joint         step 1: levels 1..n   step 2: levels 1..n   ...  -> all levels
    progressive   level 1: steps 1..S -> preview   level 2: steps 1..S on level 1's cache -> ...

Level causality makes them equal: at every step level i sees the same keys and values of levels
below, computed with it or kept from before. The total work is the same, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from dcs_common.config import config_to_dict
from dcs_common.kv_cache import KeyValueCache
from dcs_common.latents import Latents
from dcs_common.pretrained import fingerprint
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.checks import check_levels, check_stands_alone
from dcs_dit.sampling.latents import to_latents
from dcs_dit.sampling.memory import CacheKind, check_memory
from dcs_dit.sampling.request import make_request
from dcs_dit.sampling.solver import Progress, Solver
from dcs_dit.sampling.state import GenerationState


@dataclass(frozen=True, eq=False, slots=True)
class GenerationStep:
    """A preview: the latents of all levels up to ``level``, and what it takes to go on later."""

    level: int
    latents: Latents
    state: GenerationState


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
    check_stands_alone(dit.config)
    name = dit.fingerprint or fingerprint(config_to_dict(dit.config), dict(dit.state_dict()))
    if state is None:
        asked = make_request(dit, levels=levels, **request)  # type: ignore[arg-type]
        state = GenerationState(request=asked, model=name, trajectories=())
    else:
        _check_state(state, name, dit, request)
        if levels is not None:
            state = state.with_levels(check_levels(levels, dit.config, stacklevel=3))
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
        finished = replace(state, trajectories=tuple(trajectories))
        latents = to_latents(dit, [part[-1] for part in trajectories], request.grid)
        yield GenerationStep(level, latents, finished)
