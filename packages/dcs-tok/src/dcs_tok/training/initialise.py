"""Starting a run from weights that are there already (``--init-from``)."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dcs_common.config import config_to_dict
from dcs_tok.tokenizer import DCSTok


def initialise(
    tok: DCSTok, source: str | Path, *, grows_levels: bool = False, grows_blocks: bool = False
) -> str:
    """Give a tokenizer the weights of a model, or of a linear path; return what was done.

    Args:
        tok: a fresh tokenizer.
        source: a model folder, bundled name or hub id, or the file of ``dcs-tok fit-linear``.
        grows_levels: the model may have fewer levels. The rows of its levels are taken over, and
            new levels keep their fresh start beside them (stage 2: 4 levels become 8).
        grows_blocks: its networks over the canonical picture may have fewer residual blocks; new
            ones come last and start as the identity.

    Raises:
        ValueError: if the source is missing or damaged, or differs in anything else.
    """
    path = Path(source)
    if path.suffix == ".safetensors":
        return _linear_path(tok, path)
    model = DCSTok.from_pretrained(source)
    here, there = _settings(tok), _settings(model)
    differing = [key for key in here if here[key] != there[key]]
    allowed = {"patches_short_side", "patch_pixels"} | ({"num_levels"} if grows_levels else set())
    if grows_blocks and _has_more_blocks(tok, model):
        allowed.add("canonical")
    if set(differing) - allowed or model.config.num_levels > tok.config.num_levels:
        listed = ", ".join(f"{k} ({there[k]} there, {here[k]} here)" for k in differing)
        raise ValueError(
            f"A run must start from a model of its own kind, but {source} differs in {listed}. "
            "Choose the model that the recipe names, or train without `--init-from`."
        )
    state = tok.state_dict()
    deeper = state.keys() - model.state_dict().keys()
    for name in deeper:
        if ".second." in name:
            state[name] = torch.zeros_like(state[name])
    grown = []
    for name, value in model.state_dict().items():
        if state[name].shape == value.shape:
            state[name] = value
        else:
            state[name] = _with_first_levels(name, state[name], value)
            grown.append(name)
    tok.load_state_dict(state)
    if deeper:
        return f"started from {source}, grown by residual blocks"
    if not grown:
        return f"started from {source}"
    levels = f"{model.config.num_levels} levels to {tok.config.num_levels}"
    return f"started from {source}, grown from {levels}"


def _settings(tok: DCSTok) -> dict[str, Any]:
    """Return the config as JSON values, those at their defaults included."""
    values = {item.name: getattr(tok.config, item.name) for item in fields(tok.config)}
    return values | config_to_dict(tok.config)


def _has_more_blocks(tok: DCSTok, model: DCSTok) -> bool:
    """Tell whether the canonical codes differ in nothing but blocks, of which ``tok`` has more."""
    here, there = tok.config.canonical, model.config.canonical
    if here is None or there is None:
        return False
    for part in ("encoder", "decoder"):
        ours, theirs = getattr(here, part), getattr(there, part)
        if ours is None or theirs is None or ours.blocks < theirs.blocks:
            return False
        there = replace(there, **{part: replace(theirs, blocks=ours.blocks)})
    return here == there


def _with_first_levels(name: str, fresh: Tensor, old: Tensor) -> Tensor:
    """Put a tensor's rows, whose first axis holds the levels, before the fresh ones."""
    if fresh.shape[1:] != old.shape[1:] or fresh.shape[0] < old.shape[0]:
        raise ValueError(
            f"Weights that grow must hold levels along their first axis, but {name!r} has shape "
            f"{tuple(old.shape)} there and {tuple(fresh.shape)} here. Train this model anew."
        )
    return torch.cat([old, fresh[len(old) :]])


def _linear_path(tok: DCSTok, path: Path) -> str:
    if tok.linear_path is None:
        raise ValueError(
            f"A linear path must have a model to go into, but this one has none ({path}). "
            "Start from a model folder."
        )
    try:
        tensors = load_file(path)
        tok.linear_path.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"A linear path must be the whole file of `dcs-tok fit-linear` for this model, but "
            f"{path} is not ({str(error).splitlines()[0]}). Fit it again."
        ) from None
    return f"started from the linear path {path}"
