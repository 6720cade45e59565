"""What the generator is trained for: draws that no division of a step changes, and their rates."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcs_common.levels import level_probabilities
from dcs_common.training import Share
from dcs_dit import TextStates
from dcs_dit.data import LatentBatch
from dcs_dit.data.latent_moments import LatentMoments
from dcs_dit.training.task import GeneratorTask, NoisedBatch

from .small_dit import (
    CHANNELS,
    LABELS,
    LEVELS,
    PICTURE,
    TEXT_WIDTH,
    fresh,
    latents,
    lively,
    randn,
    small_config,
    small_recipe,
)

ROUNDED = {"rtol": 1e-5, "atol": 1e-7}
"""Losses are taken in float32."""
NONE = len(LABELS)


class ToyEncoder:
    """A caption of k letters has k states, the same for the same letters."""

    width = TEXT_WIDTH

    def encode(self, texts: Any) -> TextStates:
        letters = torch.zeros(len(texts), 5, TEXT_WIDTH)
        for row, text in zip(letters, texts, strict=True):
            for place, letter in enumerate(text):
                row[place] = randn(TEXT_WIDTH, seed=ord(letter))
        return TextStates(letters, torch.tensor([len(text) for text in texts]))


def _task(kind: str = "plain", held_out: LatentBatch | None = None, **recipe: Any) -> GeneratorTask:
    config = small_config(text_width=TEXT_WIDTH if kind == "text" else None)
    dit = lively(fresh(config)).double()
    batch = latents(50)
    moments = LatentMoments.of(batch.tokens).statistics
    dit.latent_mean.copy_(moments.mean)
    dit.latent_std.copy_(moments.std)
    return GeneratorTask(
        dit,
        small_recipe(config, **recipe),
        text_encoder=ToyEncoder() if kind == "text" else None,
        held_out=held_out,
    )


def _batch(count: int) -> LatentBatch:
    captions = tuple("abcde"[: (3 * i) % 6] for i in range(count))
    return replace(latents(count), captions=captions)


def _part(batch: LatentBatch, start: int, stop: int) -> LatentBatch:
    return LatentBatch(
        batch.tokens[start:stop], batch.labels[start:stop], batch.captions[start:stop]
    )


def _gradients(task: GeneratorTask, shares: list[Share], batch: LatentBatch) -> tuple[Any, ...]:
    """Return the mean of losses and scalars, and the mean gradients, over equal shares."""
    task.dit.zero_grad()
    logged: dict[str, Tensor] = {}
    for share in shares:
        samples = _part(batch, share.start, share.stop)
        ((name, loss, scalars),) = task.losses(samples, share, task.networks)
        assert name == "generator"
        (loss / len(shares)).backward()
        for key, value in {"loss": loss.detach(), **scalars}.items():
            logged[key] = logged.get(key, torch.zeros(())) + value / len(shares)
    return logged, {n: p.grad.clone() for n, p in task.dit.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------------- divisions


@pytest.mark.parametrize("kind", ["plain", "text"])
@pytest.mark.parametrize("size", [4, 2, 1])
def test_a_step_is_the_same_in_any_division(size: int, kind: str) -> None:
    task, batch = _task(kind, label_dropout=0.4, text_dropout=0.4), _batch(8)
    logged, gradients = _gradients(task, [Share(3, 0, 8, 8)], batch)
    shares = [Share(3, start, start + size, 8) for start in range(0, 8, size)]
    found_logged, found = _gradients(task, shares, batch)
    assert found_logged.keys() == logged.keys() == {"loss", "squared", "direction"}
    for key, value in logged.items():
        torch.testing.assert_close(found_logged[key], value, **ROUNDED)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@given(step=st.integers(0, 1000), edges=st.sets(st.integers(1, 7)))
def test_draws_are_the_same_in_any_division(step: int, edges: set[int]) -> None:
    task, batch = _task("text", label_dropout=0.4, text_dropout=0.4), _batch(8)
    whole = task.draw(batch, Share(step, 0, 8, 8))
    stops = [*sorted(edges), 8]
    for start, stop in zip([0, *stops], stops, strict=False):
        part = task.draw(_part(batch, start, stop), Share(step, start, stop, 8))
        for name in ("noised", "target", "time", "levels", "labels"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[start:stop]), name
        assert torch.equal(part.text.states, whole.text.states[start:stop])
        assert torch.equal(part.text.lengths, whole.text.lengths[start:stop])


def test_every_step_sample_and_seed_draws_anew() -> None:
    batch = latents(4)
    same = replace(batch, tokens=batch.tokens[:1].expand_as(batch.tokens))
    drawn = [
        _task(seed=seed).draw(same, Share(step, 0, 4, 4))
        for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    times = torch.cat([d.time for d in drawn[:3]])
    assert len(times.unique()) == 12
    noises = torch.cat([d.target for d in drawn[:3]]).flatten(1)
    assert torch.pdist(noises).min() > 1
    assert torch.equal(drawn[0].noised, drawn[3].noised)


# ---------------------------------------------------------------------- the draw


def test_latents_are_normalised_by_the_model_s_statistics() -> None:
    task, batch = _task(), latents(50)
    drawn = task.draw(batch, Share(0, 0, 50, 50))
    # x_t + (1 - t) u = x_1
    left = (1 - drawn.time).view(-1, 1, 1, 1, 1, 1)
    data = drawn.noised + left * drawn.target
    rows = data.flatten(0, 3)
    zeros, ones = torch.zeros(LEVELS, CHANNELS), torch.ones(LEVELS, CHANNELS)
    close = {"rtol": 0, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(rows.mean(dim=0), zeros, **close)
    torch.testing.assert_close(rows.std(dim=0, correction=0), ones, **close)
    torch.testing.assert_close(
        task.dit.denormalise(data), batch.tokens, rtol=0, atol=1e-4, check_dtype=False
    )
    # And what is left of x_t without the data is normal noise.
    noise = (drawn.noised - drawn.time.view(-1, 1, 1, 1, 1, 1) * drawn.target).flatten()
    assert float(noise.mean()) == pytest.approx(0, abs=3 / len(noise) ** 0.5)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    batch, share = _batch(4), [Share(0, 0, 4, 4)]
    totals = {}
    for weight in (0.0, 1.0, 2.5):
        logged, _ = _gradients(_task(direction_weight=weight), share, batch)
        expected = logged["squared"] + weight * logged["direction"]
        torch.testing.assert_close(logged["loss"], expected, check_dtype=False)
        totals[weight] = float(logged["loss"])
    assert totals[0.0] < totals[1.0] < totals[2.5]


def test_the_loss_is_of_active_tokens_alone() -> None:
    task, batch = _task(), _batch(8)
    share = Share(1, 0, 8, 8)
    drawn = task.draw(batch, share)
    assert len(drawn.levels.unique()) > 1
    ((_, loss, terms),) = task.losses(batch, share, task.networks)
    with torch.no_grad():
        velocity = task.dit(drawn.noised, drawn.time, drawn.levels, drawn.labels)
    squared, direction = [], []
    for v, u, m in zip(velocity, drawn.target, drawn.levels.tolist(), strict=True):
        v, u = v[..., :m, :].flatten(0, 3), u[..., :m, :].flatten(0, 3)
        squared.append((v - u).square().mean())
        cosine = (v * u).sum(dim=-1) / (v.norm(dim=-1) * u.norm(dim=-1))
        direction.append((1 - cosine).mean())
    found = [terms["squared"], terms["direction"], loss.detach()]
    expected = [sum(squared) / 8, sum(direction) / 8, (sum(squared) + sum(direction)) / 8]
    for value, by_hand in zip(found, expected, strict=True):
        assert float(value) == pytest.approx(float(by_hand), rel=1e-5)


# ---------------------------------------------------------------------- rates

MANY = 100_000
DROPOUT = {"label_dropout": 0.2, "text_dropout": 0.35}


@lru_cache
def _many() -> NoisedBatch:
    """10^5 samples of one token with label 1, and a caption of one letter."""
    task = _task("text", **DROPOUT)
    task.text_encoder = OneLetter()
    batch = LatentBatch(
        torch.zeros(MANY, 1, 1, 1, LEVELS, CHANNELS), torch.ones(MANY, dtype=torch.int64), ()
    )
    return task.draw(batch, Share(2, 0, MANY, MANY))


class OneLetter:
    width = TEXT_WIDTH

    def encode(self, texts: Any) -> TextStates:
        return TextStates(torch.ones(MANY, 1, 1), torch.ones(MANY, dtype=torch.int64))


def _about(share: float) -> Any:
    """Four standard errors."""
    return pytest.approx(share, abs=4 * (share * (1 - share) / MANY) ** 0.5)


def test_level_counts_come_at_their_rates() -> None:
    counts = _many().levels.bincount(minlength=LEVELS + 1)[1:] / MANY
    for found, expected in zip(counts.tolist(), level_probabilities(LEVELS).tolist(), strict=True):
        assert found == _about(expected)
    assert level_probabilities(LEVELS).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_labels_and_texts_are_dropped_at_their_rates_each_by_itself() -> None:
    drawn = _many()
    no_label, no_text = drawn.labels == NONE, drawn.text.lengths == 0
    assert torch.equal(drawn.labels[~no_label], torch.ones_like(drawn.labels[~no_label]))
    assert float(no_label.double().mean()) == _about(0.2)
    assert float(no_text.double().mean()) == _about(0.35)
    assert float((no_label & no_text).double().mean()) == _about(0.2 * 0.35)


def test_nothing_that_is_drawn_follows_from_another() -> None:
    drawn = _many()
    noise = drawn.target[:, 0, 0, 0, 0, 0]
    columns = (
        drawn.time.logit(),
        noise,
        drawn.levels.double(),
        (drawn.labels == NONE).double(),
        (drawn.text.lengths == 0).double(),
    )
    correlation = torch.corrcoef(torch.stack([column.double() for column in columns]))
    off_diagonal = correlation - torch.eye(len(columns))
    assert off_diagonal.abs().max() < 5 / MANY**0.5


def test_samples_without_label_or_caption_have_none() -> None:
    batch = replace(_batch(6), labels=torch.tensor([-1, 0, 1, 2, -1, 1]))
    drawn = _task("text", label_dropout=0.0, text_dropout=0.0).draw(batch, Share(0, 0, 6, 6))
    assert drawn.labels.tolist() == [NONE, 0, 1, 2, NONE, 1]
    assert drawn.text.lengths.tolist() == [0, 3, 0, 3, 0, 3]
    drawn = _task("text", label_dropout=1.0, text_dropout=1.0).draw(batch, Share(0, 0, 6, 6))
    assert drawn.labels.tolist() == [NONE] * 6
    assert drawn.text.lengths.tolist() == [0] * 6
    assert batch.labels.tolist() == [-1, 0, 1, 2, -1, 1]


def test_models_without_classes_or_texts_get_none() -> None:
    dit = lively(fresh(small_config(labels=())))
    drawn = GeneratorTask(dit, small_recipe(dit.config)).draw(_batch(4), Share(0, 0, 4, 4))
    assert drawn.labels is None
    assert drawn.text is None


@pytest.mark.parametrize("weights", ["linear", "equal"])
@pytest.mark.parametrize("levels", [1, 2])
def test_a_recipe_may_keep_to_the_first_levels(levels: int, weights: str) -> None:
    task, batch = _task(levels=levels, level_weights=weights), _batch(64)
    share = Share(0, 0, 64, 64)
    drawn = task.draw(batch, share)
    assert drawn.noised.shape == drawn.target.shape == (64, *PICTURE, levels, CHANNELS)
    assert drawn.levels.unique().tolist() == list(range(1, levels + 1))
    _, gradients = _gradients(task, [share], batch)
    first = gradients["tokens_in.weight"].unflatten(1, (LEVELS, -1))
    last = gradients["tokens_out.linear.weight"].unflatten(0, (LEVELS, -1))
    assert [bool(part.any()) for part in first.unbind(1)] == [i < levels for i in range(LEVELS)]
    assert [bool(part.any()) for part in last] == [i < levels for i in range(LEVELS)]


# ---------------------------------------------------------------------- measuring


@pytest.mark.parametrize("levels", [None, 2])
def test_validation_measures_every_level_of_every_sample(levels: int | None) -> None:
    held_out = _batch(5)
    task = _task("text", held_out, levels=levels)
    with torch.no_grad():
        found = task.validate(task.dit)
        n = levels or LEVELS
        assert list(found) == [f"squared_level_{i}" for i in range(1, n + 1)]
        drawn = task.draw(held_out, Share(-1, 0, 5, 5))
        every = torch.full((5,), n)
        velocity = task.dit(drawn.noised, drawn.time, every, drawn.labels, drawn.text)
    for i, value in enumerate(found.values()):
        expected = (velocity - drawn.target)[..., i, :].square().mean()
        assert value == pytest.approx(float(expected), rel=1e-5)
    assert task.validate(task.dit) == found


def test_validation_measures_the_model_that_it_is_given() -> None:
    task = _task(held_out=_batch(5))
    other = lively(fresh(small_config()), seed=1).double()
    with torch.no_grad():
        assert task.validate(other) != task.validate(task.dit)


def test_nothing_held_out_is_nothing_to_measure() -> None:
    task = _task()
    assert task.validate(task.dit) == {}
    assert task.images(_batch(2), task.dit) == {}
