"""Write the golden files anew: ``python packages/dcs-tok/tests/golden/make_golden.py``.

Only a change of format is a reason to: files that people hold would no longer be read.
"""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from dcs_common.latents import Latents
from dcs_tok import DCSTok, dcs_tok_nano
from dcs_tok.compression.codec import Codec
from dcs_tok.compression.container import read_file
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.entropy_model import EntropyModel
from dcs_tok.compression.probability_tables import whole_numbers

GOLDEN = Path(__file__).parent
LEVELS, CHANNELS, WIDTH, QUALITY = 2, 3, 4, 37


def main() -> None:
    """Write a model folder, a picture, a clip, and what they hold."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    codec = Codec(_model(rng))
    expected = {}
    for name, latents in (("picture", _picture(rng)), ("clip", _clip(rng))):
        steps = codec.model.steps(latents, 2, QUALITY)
        drawn = rng.laplace(0, 1.5, latents.tokens.shape)
        drawn *= np.where(rng.random(drawn.shape) < 0.03, 1e4, 1)
        active = torch.arange(LEVELS)[:, None] < latents.levels[..., None, None]
        tokens = torch.from_numpy(drawn).float() * steps * active
        coded = codec.code(replace(latents, tokens=tokens), QUALITY)
        (GOLDEN / f"{name}.dcs").write_bytes(coded.data)
        frames = codec.tok.decode(coded.latents, (6, 8))[0].reshape(3, -1, 6, 8)
        expected[name] = {
            "levels": read_file(coded.data).header.levels.tolist(),
            "symbols": (coded.latents.tokens / steps)[0].round().long().tolist(),
            "last_frame_at_6_x_8": frames[:, -1].mul(1e4).round().int().tolist(),
        }
    (GOLDEN / "expected.json").write_text(json.dumps(expected) + "\n")


def _model(rng: np.random.Generator) -> DCSTok:
    base = dcs_tok_nano()
    canonical = replace(base.canonical, frames=2, grid=2, cell=1, encoder=None, decoder=None)
    config = replace(
        base,
        num_levels=LEVELS,
        latent_channels=CHANNELS,
        segments_per_second=2,
        canonical=canonical,
    )
    folder = GOLDEN / "model"
    DCSTok(config).save_pretrained(folder)
    tok = DCSTok.from_pretrained(folder)
    network = ContextNetwork(LEVELS, CHANNELS, WIDTH)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape))
    model = EntropyModel.of_network(network, tok)
    # No formula gives these tables: they are read from the file.
    tables = model.tensors["tables"] * rng.uniform(0.7, 1.4, model.tensors["tables"].shape)
    replace(model, tensors=model.tensors | {"tables": whole_numbers(tables)}).save(folder)
    return tok


def _picture(rng: np.random.Generator) -> Latents:
    return Latents(
        tokens=torch.zeros(1, 1, 5, 6, LEVELS, CHANNELS),
        levels=torch.from_numpy(rng.integers(1, LEVELS + 1, (1, 1, 5, 6))),
        size=(50, 61),
    )


def _clip(rng: np.random.Generator) -> Latents:
    return Latents(
        tokens=torch.zeros(1, 8, 2, 3, LEVELS, CHANNELS),
        size=(20, 33),
        fps=Fraction(30000, 1001),
        frames=115,
        phase=Fraction(1, 3),
    )


if __name__ == "__main__":
    main()
