"""What is asked of a generator: a batch of samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_dit.model import DCSDiT
from dcs_dit.sampling.checks import (
    Grid,
    Label,
    check_count,
    check_grid,
    check_guidance,
    check_labels,
    check_levels,
    check_seeds,
)
from dcs_dit.sampling.noise import sample_seeds
from dcs_dit.sampling.settings import SamplingSettings
from dcs_dit.text import TextEncoder, TextStates


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class SamplingRequest:
    """A batch of samples to generate.

    Attributes:
        grid: (segments, rows, columns), which sets duration and aspect ratio.
        levels: how many, which sets quality.
        seeds: one for each sample.
        labels: (b,) indices, or None for no label.
        text: states of b texts, or None.
        settings: of the solver.
    """

    grid: Grid
    levels: int
    seeds: tuple[int, ...]
    labels: tuple[int, ...] | None
    text: TextStates | None
    settings: SamplingSettings

    @property
    def num_samples(self) -> int:
        """B."""
        return len(self.seeds)


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
        seeds=check_seeds(seeds),
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
        trained, given = dit.config.text_fingerprint, getattr(encoder, "fingerprint", None)
        if trained is not None and given != trained:
            raise ValueError(
                "Texts must be encoded by the encoder that the model was trained with, "
                f"{trained} ({dit.config.text_encoder}), but this one is {given}. Load that one."
            )
        texts = encoder.encode(texts)
    if texts.states.shape[-1] != width:
        raise ValueError(
            f"Text states must have the width {width} that the model was trained with, but have "
            f"{texts.states.shape[-1]}. Use the text encoder that it was trained with."
        )
    like = dit.norm.weight
    return TextStates(texts.states.to(like), texts.lengths.to(like.device))
