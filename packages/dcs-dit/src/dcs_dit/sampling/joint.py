"""All levels of a request from noise to data at once."""

import torch
from torch import Tensor

from dcs_dit.model import DCSDiT
from dcs_dit.sampling.request import SamplingRequest
from dcs_dit.sampling.solver import Progress, Solver


@torch.no_grad()
def joint_tokens(
    dit: DCSDiT,
    request: SamplingRequest,
    *,
    clean: Tensor | None = None,
    on_progress: Progress | None = None,
) -> tuple[Tensor, ...]:
    """Return the normalised tokens of each level, (b, t * h * w, c).

    Args:
        dit: the generator.
        request: what is asked for.
        clean: as for :class:`Solver`.
        on_progress: called with (steps done, steps in all).
    """
    solver = Solver(dit, request, keeps_conditions=False, clean=clean)
    x = torch.cat([solver.noise(level) for level in range(1, request.levels + 1)], dim=1)
    steps = request.settings.steps
    for step in range(steps):
        x = solver.advance(x, solver.velocity(x, step), step)
        if on_progress is not None:
            on_progress(step + 1, steps)
    return x.chunk(request.levels, dim=1)
