"""Small generators with all weights perturbed, a plain masked reference, and small runs.

A perturbed model has no silent path: adaLN-zero and the last layer start at zero, where a wrong
contribution would pass any test.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from dcs_common.attention_reference import additive, lca_mask, masked_attention
from dcs_common.positions import latent_coordinates
from dcs_common.rope import RopeConfig, rotate
from dcs_common.training import OptimizerConfig, TrainingConfig
from dcs_dit import DCSDiT, DCSDiTConfig, TextStates
from dcs_dit.block import AdaLNBlock
from dcs_dit.cli import main
from dcs_dit.data import CacheConfig, LatentBatch
from dcs_dit.training import command
from dcs_dit.training.recipe import Recipe

from .labelled_files import ToyTokenizer, class_folder, make_cache

Network = TypeVar("Network", bound=nn.Module)

LEVELS, CHANNELS, TEXT_WIDTH = 4, 5, 7
PICTURE, CLIP = (1, 3, 5), (3, 1, 5)
"""Grids without symmetry: no axis can stand in for another."""
LABELS = ("bee", "fox", "owl")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "normalised": {"qk_norm": True, "modulation_rank": 3},
    "text": {"text_width": TEXT_WIDTH},
}


def small_config(**changes: Any) -> DCSDiTConfig:
    """Return a config of two blocks with three classes."""
    settings: dict[str, Any] = {
        "width": 32,
        "heads": 2,
        "blocks": 2,
        "num_levels": LEVELS,
        "latent_channels": CHANNELS,
        "grid": PICTURE,
        "labels": LABELS,
        "rope": RopeConfig(spatial_steps=8, segment_horizon=4, level_horizon=4),
    }
    return DCSDiTConfig(**{**settings, **changes})


def lively(network: Network, seed: int = 0) -> Network:
    """Add noise to all parameters, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise.to(parameter))
    return network


def fresh(config: DCSDiTConfig | None = None, seed: int = 0) -> DCSDiT:
    """Build a generator as it is before training; the same one for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DCSDiT(config or small_config())


@lru_cache
def model(kind: str = "plain") -> DCSDiT:
    """Return a perturbed generator in float64 that tests share and leave as it is."""
    return lively(fresh(small_config(**KINDS[kind]))).double().eval()


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Draw normal numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def changed(tensor: Tensor, *where: Any) -> Tensor:
    """Return a copy with other numbers in one place."""
    copy = tensor.clone()
    copy[where] += randn(*copy[where].shape, seed=99).to(copy) + 3
    return copy


@dataclass(frozen=True)
class Inputs:
    """Arguments of a generator, for samples of mixed level counts, times, labels and texts."""

    noised: Tensor
    time: Tensor
    levels: Tensor
    labels: Tensor | None
    text: TextStates | None

    def __getitem__(self, samples: Any) -> "Inputs":
        text = self.text
        if text is not None:
            text = TextStates(text.states[samples], text.lengths[samples])
        labels = None if self.labels is None else self.labels[samples]
        return Inputs(self.noised[samples], self.time[samples], self.levels[samples], labels, text)

    def velocity(self, dit: DCSDiT) -> Tensor:
        """Call a generator."""
        return dit(self.noised, self.time, self.levels, self.labels, self.text)


def inputs(
    levels: Sequence[int], kind: str = "plain", grid: tuple[int, int, int] = PICTURE, seed: int = 0
) -> Inputs:
    """Draw inputs for samples of the given level counts; "no label" and "no text" occur too."""
    b = len(levels)
    text = None
    if kind == "text":
        text = TextStates(randn(b, 4, TEXT_WIDTH, seed=seed + 1), (torch.arange(b) + 2) % 5)
    return Inputs(
        randn(b, *grid, LEVELS, CHANNELS, seed=seed + 2),
        randn(b, seed=seed + 3).sigmoid(),
        torch.tensor(levels),
        (torch.arange(b) + 1) % (len(LABELS) + 1),
        text,
    )


# ---------------------------------------------------------------------- the plain reference


def plain_velocity(dit: DCSDiT, given: Inputs) -> Tensor:
    """The velocity by one masked softmax over all tokens, one sample after another."""
    return torch.stack([_plain_sample(dit, given[i : i + 1]) for i in range(len(given.time))])


def _plain_sample(dit: DCSDiT, given: Inputs) -> Tensor:
    (tokens,) = given.noised
    t, h, w, n, c = tokens.shape
    level = torch.arange(n).repeat(t * h * w)
    segment = torch.arange(t).repeat_interleave(h * w * n)
    is_active = level < given.levels
    # A token that is not there sees itself, so that nothing is undefined.
    mask = lca_mask(level, segment, is_active) | torch.eye(len(level), dtype=torch.bool)
    coordinates = latent_coordinates((t, h, w), n).transpose(0, 1).flatten(0, 1)
    rotation = dit.rope(coordinates, dit.norm.weight)
    condition = dit.condition(given.time, given.labels)

    weight = dit.tokens_in.weight.unflatten(1, (-1, c + 1)).transpose(0, 1)[level]
    x = (weight[..., :c] @ tokens.flatten(0, 3).unsqueeze(-1)).squeeze(-1) + weight[..., c]
    for block in dit.blocks:
        shift, scale, gate, shift_2, scale_2, gate_2 = block.modulation(condition)[0, :, 0]
        branch = _rms(x, block.attention_norm) * (1 + scale) + shift
        query, key, value = block.attention.project(branch)
        out = masked_attention(
            rotate(query, rotation)[None],
            rotate(key, rotation)[None],
            value[None],
            additive(mask, x),
        )
        x = x + gate * block.attention.out(out[0].flatten(1))
        if block.text_attention is not None:
            x = x + _plain_text(dit, block, x, given.text)
        branch = _rms(x, block.feed_forward_norm) * (1 + scale_2) + shift_2
        half, other = block.feed_forward.gate_and_value(branch).chunk(2, dim=-1)
        x = x + gate_2 * block.feed_forward.out(silu(half) * other)
    shift, scale = dit.last_modulation(condition)[0, :, 0]
    x = _rms(x, dit.norm) * (1 + scale) + shift
    last = dit.tokens_out.linear
    weight, bias = (part.unflatten(0, (-1, c))[level] for part in (last.weight, last.bias))
    out = (weight @ x.unsqueeze(-1)).squeeze(-1) + bias
    return torch.where(is_active[:, None], out, 0).view(tokens.shape)


def _rms(x: Tensor, norm: nn.Module) -> Tensor:
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt() * norm.weight


def _plain_text(dit: DCSDiT, block: AdaLNBlock, x: Tensor, text: TextStates | None) -> Tensor:
    """Attend to "no text" and to the states that belong to the text, and to nothing else."""
    states = dit.text_in.no_text[None]
    if text is not None:
        own = _rms(text.states[0, : int(text.lengths)], dit.text_in.norm)
        states = torch.cat([states, dit.text_in.linear(own)])
    attention = block.text_attention
    query = attention.query(_rms(x, block.text_norm)).unflatten(-1, (attention.heads, -1))
    width = x.shape[-1]
    weight, bias = attention.key_value.weight, attention.key_value.bias
    key = linear(states, weight[:width], bias[:width]).unflatten(-1, (attention.heads, -1))
    value = linear(states, weight[width:], bias[width:]).unflatten(-1, (attention.heads, -1))
    weights = torch.einsum("qhc,khc->hqk", query, key) * query.shape[-1] ** -0.5
    out = torch.einsum("hqk,khc->qhc", weights.softmax(dim=-1), value)
    return attention.out(out.flatten(1))


# ---------------------------------------------------------------------- training


def small_recipe(config: DCSDiTConfig | None = None, **changes: Any) -> Recipe:
    """Return a recipe in float32 that logs every step; what it does not know is of training."""
    own = {name: changes.pop(name) for name in list(changes) if name in Recipe.__slots__}
    settings: dict[str, Any] = {
        "steps": 6,
        "batch_size": 4,
        "optimizer": OptimizerConfig(learning_rate=3e-3),
        "ema_decay": 0.9,
        "precision": "float32",
        "log_every": 1,
        "checkpoint_every": 0,
    }
    training = TrainingConfig(**{**settings, **changes})
    return Recipe(
        **{"name": "tiny", "model": config or small_config(), "training": training, **own}
    )


def latents(count: int, seed: int = 0, grid: tuple[int, int, int] = PICTURE) -> LatentBatch:
    """Draw latents far from mean 0 and deviation 1, with a label each."""
    tokens = randn(count, *grid, LEVELS, CHANNELS, seed=seed)
    tokens = 3 + tokens * torch.arange(1.0, LEVELS + 1)[:, None]
    return LatentBatch(tokens.float(), torch.arange(count) % len(LABELS))


COMMAND_CONFIG = small_config(num_levels=3, latent_channels=2, labels=())
"""Fits the toy tokenizer's latents."""


TOY_CACHE = CacheConfig(size=(6, 10), patches=3, batch_size=8, dtype="float32")
"""3 x 5 patches of 2 pixels."""


def toy_cache(folder: Path, tokenizer: ToyTokenizer | None = None, **changes: Any) -> Path:
    """Cache 17 pictures of three classes; return the folder."""
    pictures = class_folder(folder.parent / f"{folder.name}-pictures")
    make_cache(folder, [pictures], replace(TOY_CACHE, **changes), tokenizer=tokenizer)
    return folder


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


def train(*arguments: object, recipe: Recipe | None = None) -> Finished:
    """Run ``dcs-dit train tiny`` with a recipe."""
    recipe = recipe or small_recipe(COMMAND_CONFIG)
    given = ["train", "tiny", *(str(argument) for argument in arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(command, "RECIPES", {"tiny": lambda: recipe}),
        redirect_stdout(out),
        redirect_stderr(err),
        torch.random.fork_rng(),
    ):
        code = main(given)
    return Finished(code, out.getvalue(), err.getvalue())


def trained(*arguments: object, recipe: Recipe | None = None) -> str:
    """Run a training that must succeed in silence; return the one line that it ends with."""
    finished = train(*arguments, recipe=recipe)
    assert (finished.code, finished.err) == (0, ""), finished
    assert re.fullmatch("[^\n]+\n", finished.out)
    return finished.out.removesuffix("\n")


def refusal(folder: Path, *arguments: object, recipe: Recipe | None = None) -> str:
    """Run a training that must refuse, in one line, and leave a folder as it is."""
    before = below(folder)
    finished = train(*arguments, recipe=recipe)
    assert below(folder) == before
    assert (finished.code, finished.out) == (2, "")
    match = re.fullmatch("dcs-dit: error: ([^\n]+)\n", finished.err)
    assert match, finished.err
    return match[1]


def below(folder: Path) -> Mapping[Path, bytes | None]:
    """Return every path below a folder with its bytes."""
    return {
        path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }
