"""What a generator is given of cached latents, and how what it makes becomes latents again.

    plain                 the tokens
    posterior-sample      mean + std * noise, drawn anew at every step   } of a cache of posteriors:
    posterior-mean        the mean alone                                 } tokens (..., 2 d), mean,
    posterior-mean-std    mean and std side by side, 2 d channels        } then std
    msf-base              means of 2 x 2 patches: half the grid          } of the tokens, or of the
    msf-residual          what the base leaves, with the base beside it  } posterior's mean

The three of posteriors are what Decoupled LDM compares, the first being what latent diffusion does.
The two of MSF are a low-resolution base and a residual; that the residual is given the base is our
reading. All stand in one place so that rivals differ in what they are given and in nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcs_dit.config import LatentForm
from dcs_dit.data.halving import doubled, halved
from dcs_dit.data.latent_cache import LatentCache
from dcs_dit.data.latent_moments import LatentMoments, LatentStatistics

Grid = tuple[int, int, int]
_POSTERIOR = "-posterior"
_MEASURED = 16_384
_PIECE = 256


@dataclass(frozen=True, eq=False, slots=True)
class FormedTokens:
    """Tokens in a form, not normalised.

    Attributes:
        tokens: (b, t, h, w, n, c) that the generator is to make.
        condition: (b, t, h, w, n, c) that it is given beside them; None for nothing.
    """

    tokens: Tensor
    condition: Tensor | None = None


@dataclass(frozen=True, slots=True)
class FormStatistics:
    """What the parts of :class:`FormedTokens` are normalised with."""

    tokens: LatentStatistics
    condition: LatentStatistics | None = None


class PlainForm:
    """The tokens as they are; other forms say where they differ.

    Attributes:
        of_posterior: whether the cache must hold posteriors, or must not; None for either.
        halves: whether the grid must be even.
    """

    of_posterior: bool | None = False
    halves = False

    def channels(self, cached: int, *, is_posterior: bool) -> int:
        """Return the channels that the generator makes of a cache's."""
        return cached // 2 if is_posterior else cached

    def grid(self, cached: Grid) -> Grid:
        """Return the generator's grid."""
        return cached

    def form(
        self, tokens: Tensor, channels: int, generators: Sequence[torch.Generator]
    ) -> FormedTokens:
        """Form cached tokens.

        Args:
            tokens: (b, t, h, w, n, c) as cached.
            channels: that the generator makes.
            generators: of each sample, for forms that draw.
        """
        return FormedTokens(tokens[..., :channels])

    def statistics(self, cache: LatentCache, channels: int) -> FormStatistics:
        """Return mean and deviation of all levels, (n, channels)."""
        mean, std = cache.statistics.mean, cache.statistics.std
        return FormStatistics(LatentStatistics(mean[:, :channels], std[:, :channels]))

    def latents(self, tokens: Tensor) -> Tensor:
        """Return what a tokenizer decodes of what was made, in the tokenizer's units."""
        return tokens


class PosteriorMean(PlainForm):
    """The mean of a posterior."""

    of_posterior = True


class PosteriorMeanStd(PlainForm):
    """Mean and deviation side by side; what is made is decoded by its mean."""

    of_posterior = True

    def channels(self, cached: int, *, is_posterior: bool) -> int:
        """Return all."""
        return cached

    def latents(self, tokens: Tensor) -> Tensor:
        """Return the mean."""
        return tokens[..., : tokens.shape[-1] // 2]


class PosteriorSample(PlainForm):
    """A code drawn from the posterior at every step."""

    of_posterior = True

    def form(
        self, tokens: Tensor, channels: int, generators: Sequence[torch.Generator]
    ) -> FormedTokens:
        """Draw one code a sample, each from its own generator."""
        mean, std = tokens[..., :channels], tokens[..., channels:]
        noise = torch.stack([torch.randn(mean.shape[1:], generator=g) for g in generators])
        return FormedTokens(mean + std * noise.to(mean))

    def statistics(self, cache: LatentCache, channels: int) -> FormStatistics:
        """Return those of codes: a code's variance is the mean's, and the mean square of std."""
        mean, std = cache.statistics.mean, cache.statistics.std
        square = std[:, :channels].square()
        square = square + std[:, channels:].square() + mean[:, channels:].square()
        return FormStatistics(LatentStatistics(mean[:, :channels], square.sqrt()))


class MultiScaleBase(PlainForm):
    """Means of 2 x 2 patches."""

    of_posterior = None
    halves = True

    def grid(self, cached: Grid) -> Grid:
        """Return half the grid."""
        t, h, w = cached
        return t, h // 2, w // 2

    def form(
        self, tokens: Tensor, channels: int, generators: Sequence[torch.Generator]
    ) -> FormedTokens:
        """Take means."""
        return FormedTokens(halved(tokens[..., :channels]))

    def statistics(self, cache: LatentCache, channels: int) -> FormStatistics:
        """Measure samples from everywhere: means of patches cannot be told from moments."""
        return FormStatistics(_measured(cache, channels)[0])

    def latents(self, tokens: Tensor) -> Tensor:
        """Return the base on the tokenizer's grid, a preview."""
        return doubled(tokens)


class MultiScaleResidual(PlainForm):
    """What the base leaves of the tokens, given the base."""

    of_posterior = None
    halves = True

    def form(
        self, tokens: Tensor, channels: int, generators: Sequence[torch.Generator]
    ) -> FormedTokens:
        """Subtract the base, and put it beside."""
        base = doubled(halved(tokens[..., :channels]))
        return FormedTokens(tokens[..., :channels] - base, base)

    def statistics(self, cache: LatentCache, channels: int) -> FormStatistics:
        """Measure samples from everywhere."""
        base, residual = _measured(cache, channels)
        return FormStatistics(residual, base)


_FORMS: dict[LatentForm, PlainForm] = {
    "plain": PlainForm(),
    "posterior-sample": PosteriorSample(),
    "posterior-mean": PosteriorMean(),
    "posterior-mean-std": PosteriorMeanStd(),
    "msf-base": MultiScaleBase(),
    "msf-residual": MultiScaleResidual(),
}


def latent_form(name: LatentForm) -> PlainForm:
    """Return a form by its name, which a config has checked."""
    return _FORMS[name]


def holds_posteriors(cache: LatentCache) -> bool:
    """Tell whether a cache's tokens are means, then deviations, as tokenizers' names say.

    A tokenizer that encodes to posteriors is offered under a name that ends with "-posterior".
    """
    return cache.tokenizer_name.endswith(_POSTERIOR)


def check_form(name: LatentForm, cache: LatentCache) -> None:
    """Refuse a cache that a form cannot be made of.

    Raises:
        ValueError: if it holds no posteriors and must, or the reverse, or its grid is odd.
    """
    form, found = latent_form(name), holds_posteriors(cache)
    if form.of_posterior is not None and form.of_posterior != found:
        needed, remedy = (
            (
                "posteriors",
                "Cache with a tokenizer that gives posteriors, such as dcs-tok-posterior",
            )
            if form.of_posterior
            else ("tokens alone", "Cache with the tokenizer itself, or choose a form of posteriors")
        )
        raise ValueError(
            f"The form {name!r} needs a cache of {needed}, but the cache was made with "
            f"{cache.tokenizer_name!r}. {remedy}."
        )
    if form.halves and (cache.grid[1] % 2 or cache.grid[2] % 2):
        raise ValueError(
            f"The form {name!r} needs a grid of even rows and columns, whose half is the base, but "
            f"the cache's is {cache.grid}. Cache with another `--patches` or `--size`."
        )


def _measured(cache: LatentCache, channels: int) -> tuple[LatentStatistics, LatentStatistics]:
    """Measure base and residual on at most 16,384 samples at equal distances."""
    count = min(len(cache), _MEASURED)
    base = residual = LatentMoments.none(cache.num_levels, channels)
    for start in range(0, count, _PIECE):
        stop = min(start + _PIECE, count)
        tokens = cache.tokens([i * len(cache) // count for i in range(start, stop)])
        whole = tokens[..., :channels].double()
        half = halved(whole)
        base = base.merged(LatentMoments.of(half))
        residual = residual.merged(LatentMoments.of(whole - doubled(half)))
    return base.statistics, residual.statistics
