r"""``sample_msf``: a base at half the grid, then the residual that it leaves (MSF).

    base      steps 1..S at (h / 2, w / 2) -> preview, the base doubled
    residual  steps 1..R at (h, w), the base beside the noised tokens -> base + residual

The rival of coarse-to-fine levels: the first stage has a quarter of the tokens, and the second may
do with fewer steps, as it is given most of the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dcs_common.latents import Latents
from dcs_dit.config import DCSDiTConfig
from dcs_dit.model import DCSDiT
from dcs_dit.sampling.joint import joint_tokens
from dcs_dit.sampling.latents import to_latents
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.request import SamplingRequest, make_request
from dcs_dit.sampling.solver import Progress

RESIDUAL_STEPS = 12
# What both must have in common to make one picture.
_SHARED = (
    *("latent_channels", "patch_pixels", "fps", "segments_per_second", "labels"),
    *("text_width", "text_fingerprint", "tokenizer"),
)


@dataclass(frozen=True, eq=False, slots=True)
class MSFStep:
    """Latents after a stage: 1 is the base, a preview on the whole grid; 2 is the picture."""

    level: int
    latents: Latents


def sample_msf(
    base: DCSDiT,
    residual: DCSDiT,
    *,
    steps: int = 50,
    residual_steps: int = RESIDUAL_STEPS,
    grid: Sequence[int] | None = None,
    on_progress: Progress | None = None,
    **request: object,
) -> Iterator[MSFStep]:
    """Generate a base and its residual: yield latents after the one and after the other.

    Args:
        base: a generator of the form "msf-base".
        residual: one of the form "msf-residual", of the same latents.
        steps, residual_steps: of Euler's method for each; each evaluates its model once.
        grid: of the picture, (segments, rows, columns) or (rows, columns), both even; default:
            the residual's.
        on_progress: called with (steps done, steps in all) over both stages.
        **request: as for :func:`sample`; a guidance scale that is not given is each model's own.

    Yields:
        Two steps. A sample depends on its seed, its condition and the models alone.

    Raises:
        ValueError: if the models do not go together, or the request cannot be met. It is raised
            by the call, before anything is computed.
    """
    _check_pair(base.config, residual.config)
    if not isinstance(residual_steps, int) or residual_steps < 1:
        raise ValueError(
            f"`residual_steps` must be an integer from 1 on, but is {residual_steps!r}. A residual "
            "may do with fewer than the base."
        )
    fine = make_request(residual, steps=residual_steps, grid=grid, **request)  # type: ignore[arg-type]
    t, h, w = fine.grid
    if h % 2 or w % 2:
        raise ValueError(
            f"`grid` must have even rows and columns, whose half is the base, but is {fine.grid}. "
            f"The residual was trained on {residual.config.grid}."
        )
    request = request | {"seeds": fine.seeds, "steps": steps, "grid": (t, h // 2, w // 2)}
    coarse = make_request(base, **request)  # type: ignore[arg-type]
    if coarse.levels != fine.levels:
        raise ValueError(
            f"Base and residual must have the same levels, but have {coarse.levels} and "
            f"{fine.levels}. Give `levels`."
        )
    # Noise of its own: the longer draw must not begin with the shorter one.
    own = tuple(sample_seeds(seed, 1)[0] for seed in fine.seeds)
    return _stages(base, residual, coarse, replace(fine, seeds=own), on_progress)


def _check_pair(base: DCSDiTConfig, residual: DCSDiTConfig) -> None:
    for what, config, needed in (
        ("base", base, "msf-base"),
        ("residual", residual, "msf-residual"),
    ):
        if config.latent_form != needed:
            raise ValueError(
                f"The {what} must be a model of the form {needed!r}, but is one of "
                f"{config.latent_form!r}. Train it with the recipe nano-{needed}."
            )
    differing = [name for name in _SHARED if getattr(base, name) != getattr(residual, name)]
    if differing:
        listed = ", ".join(
            f"{name} ({getattr(base, name)} there, {getattr(residual, name)} here)"
            for name in differing
        )
        raise ValueError(
            f"Base and residual must be of the same latents, but the base differs in {listed}. "
            "Train both on one cache."
        )


def _stages(
    base: DCSDiT,
    residual: DCSDiT,
    coarse: SamplingRequest,
    fine: SamplingRequest,
    on_progress: Progress | None,
) -> Iterator[MSFStep]:
    first, second = coarse.settings.steps, fine.settings.steps

    def report_after(done: int) -> Progress | None:
        if on_progress is None:
            return None
        return lambda step, _: on_progress(done + step, first + second)

    tokens = joint_tokens(base, coarse, on_progress=report_after(0))
    preview = to_latents(base, tokens, coarse.grid)
    yield MSFStep(1, preview)
    clean = residual.normalise_condition(preview.tokens.to(residual.norm.weight.device))
    tokens = joint_tokens(
        residual, fine, clean=_level_major(clean), on_progress=report_after(first)
    )
    left = to_latents(residual, tokens, fine.grid)
    yield MSFStep(2, replace(left, tokens=preview.tokens.to(left.tokens) + left.tokens))


def _level_major(tokens: Tensor) -> Tensor:
    """(b, t, h, w, n, c) to (b, n * t * h * w, c), the order of a request's sequence."""
    return tokens.movedim(4, 1).flatten(1, 4)
