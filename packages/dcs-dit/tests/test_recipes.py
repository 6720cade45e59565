"""Recipes hold the paper's numbers (Tables 3 and 5)."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from dcs_common.training import Share
from dcs_dit import DCSDiT
from dcs_dit.config import dcs_dit_b, dcs_dit_nano, dcs_dit_s, dcs_dit_xl
from dcs_dit.data import LatentBatch
from dcs_dit.training.recipes import RECIPES, tiny
from dcs_dit.training.task import GeneratorTask

from .labelled_files import error
from .small_dit import LEVELS, small_recipe


@pytest.mark.parametrize("name", ["xl", "b", "s"])
def test_training_is_that_of_table_5(name: str) -> None:
    recipe = RECIPES[name]()
    training = recipe.training
    assert (training.steps, training.batch_size) == (200_000, 512)
    assert training.optimizer.learning_rate == 1e-4
    assert training.optimizer.betas == (0.9, 0.95)
    assert training.optimizer.weight_decay == 0
    assert training.optimizer.matrix_learning_rate is None
    assert (training.optimizer.schedule, training.optimizer.warmup_steps) == ("constant", 0)
    assert training.ema_decay == 0.9999
    assert recipe.label_dropout == 0.1
    assert recipe.direction_weight == 1
    assert recipe.level_weights == "linear"
    assert recipe.levels is None


def test_the_model_is_that_of_table_3() -> None:
    config = RECIPES["xl"]().model
    assert (config.width, config.heads, config.blocks) == (1152, 16, 28)
    assert (config.num_levels, config.latent_channels, config.grid) == (4, 16, (1, 16, 16))
    assert (config.qk_norm, config.modulation_rank) == (False, None)
    with torch.device("meta"):
        dit = DCSDiT(replace(config, labels=tuple(map(str, range(1000)))))
    assert 675e6 < sum(p.numel() for p in dit.parameters()) < 700e6


@pytest.mark.parametrize(
    ("name", "config"), [("b", dcs_dit_b), ("s", dcs_dit_s), ("xl", dcs_dit_xl)]
)
def test_sizes_differ_in_the_model_alone(name: str, config: Any) -> None:
    recipe = RECIPES[name]()
    assert replace(recipe, name="xl", model=dcs_dit_xl()) == RECIPES["xl"]()
    assert recipe.model == config()


def test_the_nano_recipe_trains_the_nano_model_in_the_paper_s_way() -> None:
    recipe, paper = RECIPES["nano"](), RECIPES["xl"]()
    assert recipe.model == dcs_dit_nano()
    for name in ("label_dropout", "text_dropout", "direction_weight", "level_weights", "levels"):
        assert getattr(recipe, name) == getattr(paper, name)
    assert recipe.training.optimizer.betas == (0.9, 0.95)
    assert recipe.training.steps <= 20_000


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_are_called_by_their_names(name: str) -> None:
    assert RECIPES[name]().name == name


@pytest.mark.parametrize("name", ["label_dropout", "text_dropout"])
@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_dropout_is_a_share(name: str, share: float) -> None:
    with error(f"`{name}` must be a share in [0, 1], but is {share}."):
        small_recipe(**{name: share})


def test_the_direction_s_weight_is_no_reward() -> None:
    with error("`direction_weight` must be 0 or more, but is -1.0. 0 leaves that loss out."):
        small_recipe(direction_weight=-1.0)


@pytest.mark.parametrize("levels", [0, -1, LEVELS + 1])
def test_levels_are_those_of_the_model(levels: int) -> None:
    with error(
        f"`levels` must be between 1 and {LEVELS}, but is {levels}. The model has {LEVELS} levels."
    ):
        small_recipe(levels=levels)


# ---------------------------------------------------------------------- rivals

RIVALS = [name for name in RECIPES if name.startswith("nano-")]


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_differ_in_what_they_are_given_alone(name: str) -> None:
    recipe, nano = RECIPES[name](), RECIPES["nano"]()
    given = ("num_levels", "latent_channels", "grid", "patch_pixels", "latent_form")
    changes = {key: getattr(nano.model, key) for key in (*given, "condition_channels")}
    assert replace(recipe.model, **changes) == nano.model
    assert replace(recipe, name="nano", model=nano.model, condition_noise=0.0) == nano


def test_rivals_make_equally_many_numbers() -> None:
    """1024 for a picture of 128 px: 8 x 8 patches of 16 channels, or 4 levels of 4 x 4."""
    numbers, sides = {}, set()
    for name in RIVALS:
        config = RECIPES[name]().model
        t, h, w = config.grid
        numbers[name] = t * h * w * config.num_levels * config.latent_channels
        scale = 2 if config.latent_form == "msf-base" else 1
        sides.add((scale * h * config.patch_pixels, scale * w * config.patch_pixels))
    assert sides == {(128, 128)}
    assert numbers.pop("nano-msf-base") == 256
    assert numbers.pop("nano-ldm-mean-std") == 2 * 1024
    assert set(numbers.values()) == {1024}


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_takes_a_step(name: str) -> None:
    recipe = tiny(RECIPES[name]())
    config = replace(recipe.model, labels=("bee", "fox"))
    recipe = replace(recipe, model=config)
    t, h, w = config.grid
    scale = 2 if config.latent_form == "msf-base" else 1
    form = config.latent_form
    channels = 2 * config.latent_channels if form == "posterior-sample" else config.latent_channels
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dit = DCSDiT(config)
        tokens = torch.randn(2, t, scale * h, scale * w, config.num_levels, channels).abs()
    task = GeneratorTask(dit, recipe)
    batch = LatentBatch(tokens, torch.tensor([0, 1]))
    ((_, loss, scalars),) = task.losses(batch, Share(0, 0, 2, 2), task.networks)
    loss.backward()
    assert scalars["squared"] > 0.3
    assert bool(dit.tokens_out.linear.weight.grad.any())
