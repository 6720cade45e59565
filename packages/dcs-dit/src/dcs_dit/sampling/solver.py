"""Euler's method over the velocity of a DCS-DiT: all levels at once, or one level on a cache."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_common.kv_cache import KeyValueCache
from dcs_common.token_layout import TokenLayout
from dcs_dit.conditioning import Conditions, TextKeys
from dcs_dit.model import DCSDiT, Placement
from dcs_dit.sampling.noise import level_noise
from dcs_dit.sampling.request import SamplingRequest
from dcs_dit.text import TextStates

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, slots=True)
class _Branches:
    """One layout for a step's samples: conditional ones, and unconditional ones behind them."""

    layout: TokenLayout
    labels: Tensor | None
    texts: tuple[TextKeys, ...] | None


class Solver:
    """Velocities of a request, with what depends on time alone computed once per step.

    Args:
        dit: the generator.
        request: what is asked for.
        keeps_conditions: whether a step is to come again, for the next level.
        clean: (b, tokens, condition_channels) normalised, level-major, to stand beside all levels'
            tokens, for a model that has such channels.
    """

    def __init__(
        self,
        dit: DCSDiT,
        request: SamplingRequest,
        *,
        keeps_conditions: bool = True,
        clean: Tensor | None = None,
    ) -> None:
        self.dit, self.request, self.clean = dit, request, clean
        self.keeps_conditions = keeps_conditions
        self.settings = request.settings
        self.times = request.settings.times()
        like = dit.norm.weight
        self.device = like.device
        self.dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        needed = {self.settings.is_guided(time) for time in self.times[:-1]}
        self._branches = {guided: self._make_branches(guided) for guided in needed}
        self._conditions: dict[int, Conditions] = {}
        self._placements: dict[tuple[bool, int | None], Placement] = {}

    def _make_branches(self, guided: bool) -> _Branches:
        request, device = self.request, self.device
        b, none = request.num_samples, len(self.dit.config.labels)
        labels = None
        if none:
            known = request.labels if request.labels is not None else (none,) * b
            labels = torch.tensor(known + (none,) * b * guided, device=device)
        text = request.text
        if text is not None and guided:
            lengths = torch.cat([text.lengths, torch.zeros_like(text.lengths)])
            text = TextStates(text.states.repeat(2, 1, 1), lengths)
        count = b * (1 + guided)
        layout = TokenLayout.of(torch.full((count, *request.grid), request.levels))
        return _Branches(layout, labels, self.dit.text_keys(text, count))

    def noise(self, level: int) -> Tensor:
        """Return the noise of a level (from 1): (b, t * h * w, c)."""
        channels = self.dit.config.latent_channels
        noise = level_noise(self.request.seeds, self.request.grid, level, channels)
        return noise.to(self.device, self.dtype)

    def conditions(self, step: int) -> Conditions:
        """Return a step's conditions, computed when they are first asked for."""
        if step in self._conditions:
            return self._conditions[step]
        branches = self._branches[self._is_guided(step)]
        time = torch.full((branches.layout.shape[0],), self.times[step], dtype=torch.float64)
        found = self.dit.conditions(
            time.to(self.device, self.dtype), branches.labels, texts=branches.texts
        )
        if self.keeps_conditions:
            self._conditions[step] = found
        return found

    def placement(self, guided: bool, level: int | None) -> Placement:
        """Return where the tokens of one level (from 1), or of all, lie."""
        if (guided, level) not in self._placements:
            layout = self._branches[guided].layout
            if level is not None:
                layout = layout.at_level(level - 1)
            self._placements[guided, level] = self.dit.place(layout)
        return self._placements[guided, level]

    def velocity(
        self, x: Tensor, step: int, level: int | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return the guided velocity of (b, tokens, c) at a step.

        Args:
            x: all levels' tokens, level-major, or those of one level.
            step: number of the step, from 0.
            level: the level (from 1) that ``x`` holds; None for all.
            cache: of this step, with all lower levels.
        """
        guided = self._is_guided(step)
        both = self.dit.beside(x, self.clean).repeat(1 + guided, 1, 1)
        velocity = self.dit.velocity(
            both.flatten(0, 1), self.placement(guided, level), self.conditions(step), cache
        )
        velocity = velocity.to(self.dtype).view(*both.shape[:-1], -1)
        return self.settings.guide(*velocity.chunk(2)) if guided else velocity

    def advance(self, x: Tensor, velocity: Tensor, step: int) -> Tensor:
        """Take a step of Euler's method."""
        return x + (self.times[step + 1] - self.times[step]) * velocity

    def _is_guided(self, step: int) -> bool:
        return self.settings.is_guided(self.times[step])
