"""Starting a run from a trained model."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from dcs_common.config import config_to_dict
from dcs_dit.config import DCSDiTConfig
from dcs_dit.model import DCSDiT

# What a model may differ in and still hold fitting weights: names and defaults, and the data.
_MAY_DIFFER = {
    *("guidance_scale", "grid", "patch_pixels", "tokenizer_model"),
    *("trained_levels", "has_unconditional"),
}


def initialise(dit: DCSDiT, source: str | Path) -> str:
    """Give a generator the weights of a trained one; return what was done.

    The statistics of the latents stay those of ``dit``'s own data.

    Raises:
        ValueError: if the source is missing or damaged, or another kind of model.
    """
    model = DCSDiT.from_pretrained(source)
    here, there = _all_of(dit.config), _all_of(model.config)
    differing = [key for key in here if here[key] != there[key] and key not in _MAY_DIFFER]
    if differing:
        listed = ", ".join(f"{k} ({there[k]} there, {here[k]} here)" for k in differing)
        raise ValueError(
            f"A run must start from a model of its own kind, but {source} differs in {listed}. "
            "Choose the model that the recipe names, or train without `--init-from`."
        )
    dit.load_state_dict(model.state_dict() | dict(dit.named_buffers()))
    return f"started from {source}"


def _all_of(config: DCSDiTConfig) -> dict[str, Any]:
    """Return all settings as JSON values, those at defaults that files leave out, too."""
    return {f.name: getattr(config, f.name) for f in fields(config)} | config_to_dict(config)
