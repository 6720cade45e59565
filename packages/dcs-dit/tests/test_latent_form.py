"""What a generator is given of latents: forms, their statistics, and what they refuse."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.training import Share, sample_generators
from dcs_dit.config import LatentForm
from dcs_dit.data import LatentBatch, LatentCache
from dcs_dit.data import latent_form as forms
from dcs_dit.data.halving import doubled, halved
from dcs_dit.data.latent_form import check_form, holds_posteriors, latent_form
from dcs_dit.training.task import GeneratorTask

from .labelled_files import SMALL, ToyPosterior, class_folder, error, make_cache
from .small_dit import fresh, lively, randn, small_config, small_recipe

EXACT = {"rtol": 0, "atol": 1e-12}
POSTERIOR: tuple[LatentForm, ...] = ("posterior-sample", "posterior-mean", "posterior-mean-std")
MSF: tuple[LatentForm, ...] = ("msf-base", "msf-residual")
CHANNELS = 2


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LatentCache]:
    """Caches of 17 pictures on 4 x 4 and on 3 x 3 patches, of tokens and of posteriors."""
    folder = tmp_path_factory.mktemp("forms")
    pictures = class_folder(folder / "pictures")
    config = replace(SMALL, dtype="float32", patches=4)
    make_cache(folder / "tokens", [pictures], config)
    make_cache(folder / "odd", [pictures], replace(config, patches=3))
    name = "toy-posterior"
    make_cache(folder / name, [pictures], config, tokenizer=ToyPosterior(), name=name)
    return {path: LatentCache.open(folder / path) for path in ("tokens", "odd", name)}


def every_token(cache: LatentCache) -> Tensor:
    return cache.tokens(range(len(cache))).double()


def generators(count: int, step: int = 0) -> Sequence[torch.Generator]:
    return sample_generators(0, Share(step, 0, count, count), "form")


# ---------------------------------------------------------------------- two scales


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_base_and_residual_are_the_latent(t: int, h: int, w: int, seed: int) -> None:
    tokens = randn(2, t, 2 * h, 2 * w, 3, 5, seed=seed)
    base = latent_form("msf-base").form(tokens, 5, ()).tokens
    residual = latent_form("msf-residual").form(tokens, 5, ())
    assert base.shape == (2, t, h, w, 3, 5)
    assert residual.condition is not None
    torch.testing.assert_close(latent_form("msf-base").latents(base), residual.condition, **EXACT)
    torch.testing.assert_close(residual.condition + residual.tokens, tokens, **EXACT)
    torch.testing.assert_close(halved(residual.tokens), torch.zeros_like(base), **EXACT)


@given(st.lists(st.integers(-1000, 1000), min_size=16, max_size=16))
def test_of_numbers_that_are_exact_so_is_the_sum(values: list[int]) -> None:
    tokens = torch.tensor(values, dtype=torch.float32).view(1, 1, 4, 4, 1, 1)
    residual = latent_form("msf-residual").form(tokens, 1, ())
    assert torch.equal(residual.condition + residual.tokens, tokens)


def test_a_base_is_the_mean_of_two_rows_and_two_columns() -> None:
    tokens = torch.arange(8.0).view(1, 1, 2, 4, 1, 1)  # 0 1 2 3 / 4 5 6 7
    assert halved(tokens).flatten().tolist() == [2.5, 4.5]
    assert doubled(halved(tokens)).flatten().tolist() == [2.5, 2.5, 4.5, 4.5] * 2


@pytest.mark.parametrize("name", ["tokens", "toy-posterior"])
def test_of_posteriors_msf_takes_the_mean(name: str, caches: dict[str, LatentCache]) -> None:
    tokens = every_token(caches[name])
    formed = latent_form("msf-residual").form(tokens, CHANNELS, ())
    torch.testing.assert_close(formed.condition + formed.tokens, tokens[..., :CHANNELS], **EXACT)


# ---------------------------------------------------------------------- statistics


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("plain", "tokens"),
        ("posterior-mean", "toy-posterior"),
        ("posterior-mean-std", "toy-posterior"),
        *((form, name) for form in MSF for name in ("tokens", "toy-posterior")),
    ],
)
def test_statistics_are_those_of_what_the_model_sees(
    form: LatentForm, name: str, caches: dict[str, LatentCache]
) -> None:
    cache, made = caches[name], latent_form(form)
    channels = made.channels(cache.channels, is_posterior=holds_posteriors(cache))
    assert channels == (4 if form == "posterior-mean-std" else CHANNELS)
    formed, found = made.form(every_token(cache), channels, ()), made.statistics(cache, channels)
    assert formed.tokens.shape[1:4] == made.grid(cache.grid)
    pairs = [(formed.tokens, found.tokens), (formed.condition, found.condition)]
    for seen, statistics in pairs[: 2 if form == "msf-residual" else 1]:
        rows = seen.flatten(0, 3)
        close = {"rtol": 1e-6, "atol": 1e-7}
        torch.testing.assert_close(statistics.mean, rows.mean(dim=0), **close)
        torch.testing.assert_close(statistics.std, rows.std(dim=0, correction=0), **close)
    assert (formed.condition is None) == (found.condition is None) == (form != "msf-residual")


def test_statistics_of_a_sample_are_those_of_many_draws(caches: dict[str, LatentCache]) -> None:
    cache, form = caches["toy-posterior"], latent_form("posterior-sample")
    draws, tokens = 400, every_token(cache)
    rows = torch.cat(
        [form.form(tokens, CHANNELS, generators(17, step)).tokens for step in range(draws)]
    ).flatten(0, 3)
    found = form.statistics(cache, CHANNELS).tokens
    # Five standard errors of noise alone: what the pictures give is the same in every draw.
    noise = tokens[..., CHANNELS:].square().mean(dim=(0, 1, 2, 3)).sqrt()
    error_of_mean = 5 * noise / math.sqrt(len(rows))
    assert ((rows.mean(dim=0) - found.mean).abs() < error_of_mean).all()
    assert ((rows.std(dim=0) / found.std - 1).abs() < 5 / math.sqrt(len(rows))).all()
    # And the noise is no small part of it.
    mean_alone = latent_form("posterior-mean").statistics(cache, CHANNELS).tokens
    assert (found.std > 1.2 * mean_alone.std).all()


def test_many_samples_are_measured_from_everywhere(
    caches: dict[str, LatentCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "_MEASURED", 5)
    monkeypatch.setattr(forms, "_PIECE", 2)
    cache = caches["tokens"]
    base = halved(cache.tokens([0, 3, 6, 10, 13]).double()).flatten(0, 3)
    found = latent_form("msf-base").statistics(cache, CHANNELS).tokens
    torch.testing.assert_close(found.mean, base.mean(dim=0), **EXACT)
    torch.testing.assert_close(found.std, base.std(dim=0, correction=0), **EXACT)


# ---------------------------------------------------------------------- in training


def _task(form: LatentForm, channels: int, **recipe: float) -> GeneratorTask:
    config = small_config(
        num_levels=3,
        latent_channels=channels,
        labels=(),
        latent_form=form,
        condition_channels=channels if form == "msf-residual" else 0,
    )
    return GeneratorTask(lively(fresh(config)).double(), small_recipe(config, **recipe))


def _data(task: GeneratorTask, batch: LatentBatch, share: Share) -> Tensor:
    """Return x_1 = x_t + (1 - t) u."""
    drawn = task.draw(batch, share)
    return drawn.noised + (1 - drawn.time).view(-1, 1, 1, 1, 1, 1) * drawn.target


@pytest.fixture
def posteriors(caches: dict[str, LatentCache]) -> LatentBatch:
    """The same picture eight times."""
    tokens = every_token(caches["toy-posterior"])[:1].expand(8, -1, -1, -1, -1, -1)
    return LatentBatch(tokens, torch.full((8,), -1))


def test_a_sample_is_drawn_anew_for_every_step_and_sample(posteriors: LatentBatch) -> None:
    task = _task("posterior-sample", CHANNELS)
    codes = torch.cat([_data(task, posteriors, Share(step, 0, 8, 8)) for step in (0, 1, 2)])
    assert torch.pdist(codes.flatten(1)).min() > 0.1
    mean, std = posteriors.tokens[0].split(CHANNELS, dim=-1)
    noise = (codes - mean) / std
    assert abs(noise.mean()) < 5 / math.sqrt(noise.numel())
    assert abs(noise.std() - 1) < 5 / math.sqrt(noise.numel())


@given(step=st.integers(0, 1000), edges=st.sets(st.integers(1, 7)))
@pytest.mark.parametrize("form", ["posterior-sample", "msf-residual"])
def test_draws_are_the_same_in_any_division(form: LatentForm, step: int, edges: set[int]) -> None:
    noise = {"condition_noise": 0.5} if form == "msf-residual" else {}
    task = _task(form, CHANNELS, **noise)
    batch = LatentBatch(randn(8, 1, 4, 4, 3, 4).abs(), torch.full((8,), -1))
    whole = task.draw(batch, Share(step, 0, 8, 8))
    stops = [*sorted(edges), 8]
    for start, stop in zip([0, *stops], stops, strict=False):
        part = LatentBatch(batch.tokens[start:stop], batch.labels[start:stop])
        drawn = task.draw(part, Share(step, start, stop, 8))
        assert torch.equal(drawn.noised, whole.noised[start:stop])
        if whole.clean is not None:
            assert torch.equal(drawn.clean, whole.clean[start:stop])
    assert (whole.clean is None) == (form == "posterior-sample")


@pytest.mark.parametrize(("form", "channels"), [("posterior-mean", 2), ("posterior-mean-std", 4)])
def test_the_mean_and_both_are_never_drawn(
    form: LatentForm, channels: int, posteriors: LatentBatch
) -> None:
    found = _data(_task(form, channels), posteriors, Share(0, 0, 8, 8))
    torch.testing.assert_close(found, posteriors.tokens[..., :channels], **EXACT)


def test_a_base_gets_noise_of_random_strength_alike_in_four_patches() -> None:
    batch = LatentBatch(randn(600, 1, 4, 4, 3, CHANNELS), torch.full((600,), -1))
    task = _task("msf-residual", CHANNELS, condition_noise=0.4)
    task.dit.condition_mean.fill_(3)
    task.dit.condition_std.fill_(2)
    base = (doubled(halved(batch.tokens)) - 3) / 2
    noise = task.draw(batch, Share(0, 0, 600, 600)).clean - base
    torch.testing.assert_close(doubled(halved(noise)), noise, **EXACT)
    strength = halved(noise).flatten(1).std(dim=1)
    assert strength.max() < 0.4 * 1.6  # of 24 numbers
    assert strength.min() < 0.02
    assert abs(strength.mean() - 0.2) < 0.03
    # The residual that is to be learned is the true one.
    share = Share(0, 0, 600, 600)
    found = _data(task, batch, share)
    torch.testing.assert_close(found, batch.tokens - doubled(halved(batch.tokens)), **EXACT)
    still = _task("msf-residual", CHANNELS)
    clean = still.draw(batch, share).clean
    torch.testing.assert_close(clean, doubled(halved(batch.tokens)), **EXACT)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize("form", POSTERIOR)
def test_posteriors_must_be_there(form: LatentForm, caches: dict[str, LatentCache]) -> None:
    check_form(form, caches["toy-posterior"])
    with error(
        f"The form {form!r} needs a cache of posteriors, but the cache was made with 'toy'. Cache "
        "with a tokenizer that gives posteriors, such as dcs-tok-posterior."
    ):
        check_form(form, caches["tokens"])


def test_plain_latents_are_no_posteriors(caches: dict[str, LatentCache]) -> None:
    check_form("plain", caches["odd"])
    with error(
        "The form 'plain' needs a cache of tokens alone, but the cache was made with "
        "'toy-posterior'. Cache with the tokenizer itself, or choose a form of posteriors."
    ):
        check_form("plain", caches["toy-posterior"])


@pytest.mark.parametrize("form", MSF)
def test_a_base_needs_an_even_grid(form: LatentForm, caches: dict[str, LatentCache]) -> None:
    check_form(form, caches["tokens"])
    check_form(form, caches["toy-posterior"])
    with error(
        f"The form {form!r} needs a grid of even rows and columns, whose half is the base, but the "
        "cache's is (1, 3, 3). Cache with another `--patches` or `--size`."
    ):
        check_form(form, caches["odd"])


def test_every_form_has_a_name_and_a_model_its_channels(tmp_path: Path) -> None:
    names = "plain, posterior-sample, posterior-mean, posterior-mean-std, msf-base, msf-residual"
    with error(f"`latent_form` must be one of {names}, but is 'wavelet'."):
        small_config(latent_form="wavelet")
    with error(
        "`condition_channels` must be 5 for the form 'msf-residual' of 5 channels, but is 0. A "
        "residual stands beside its base, and nothing else does."
    ):
        small_config(latent_form="msf-residual")
    with error(
        "`condition_channels` must be 0 for the form 'msf-base' of 5 channels, but is 5. A "
        "residual stands beside its base, and nothing else does."
    ):
        small_config(latent_form="msf-base", condition_channels=5)


def test_noise_is_for_a_base(tmp_path: Path) -> None:
    with error(
        "`condition_noise` must be 0 for a model that is given no base, but is 0.1. Only the form "
        "'msf-residual' has one."
    ):
        small_recipe(condition_noise=0.1)
    with error(
        "`condition_noise` must be 0 or more and finite, but is -0.1. 0 leaves the base as it is."
    ):
        small_recipe(condition_noise=-0.1)
