"""Training of DCS-Tok: recipes, the task they describe, and what they cost."""

from dcs_tok.training.plan import plan
from dcs_tok.training.recipe import LevelSampling, LossWeights, Recipe
from dcs_tok.training.recipes import RECIPES
from dcs_tok.training.task import TokenizerTask

__all__ = ["RECIPES", "LevelSampling", "LossWeights", "Recipe", "TokenizerTask", "plan"]
