"""``dcs-tok fit-context``: the probability model of a tokenizer's symbols, fitted to pictures.

The tokenizer is only asked for latents; what is minimised is the bits of their symbols.
"""

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dcs_common import Latents
from dcs_common.config import config_to_dict
from dcs_common.machine import check_device, check_seed
from dcs_common.training import (
    OptimizerConfig,
    Share,
    TrainingConfig,
    joined_world,
    sample_generators,
    seeded_generator,
    train,
)
from dcs_tok.compression.codec import KAPPA
from dcs_tok.compression.context_network import ContextNetwork
from dcs_tok.compression.entropy_model import ENTROPY_FILE, EntropyModel
from dcs_tok.compression.fit_tables import fit_tables
from dcs_tok.data import LoadingConfig, PictureAndClipSource, ScaleConfig, TrainingBatch
from dcs_tok.tokenizer import DCSTok
from dcs_tok.training.rate_term import QUALITIES, RateTerm, symbol_bits

SCALES = ScaleConfig(
    short_sides=(128, 192, 256),
    patches=(8, 12, 16),
    crop="native",
    clip_share=1 / 8,
    fps=(12, 15, 24, 30),
    clip_seconds=1 / 2,
)
TRAINING = TrainingConfig(
    steps=4000,
    batch_size=8,
    optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=30, schedule="cosine"),
    precision="float32",
    ema_decay=0.998,
    checkpoint_every=500,
)

_TABLE_BATCHES = 200
"""Batches whose symbols the tables are fitted to."""


class ContextTask:
    """The bits of symbols, in the mean over all of them."""

    def __init__(self, tok: DCSTok, context: ContextNetwork, seed: int) -> None:
        self.tok, self.seed = tok, seed
        self.networks: dict[str, nn.Module] = {"context": context}

    def hidden_matrices(self, network: str) -> Collection[str]:
        """Name none: kernels have four axes."""
        return ()

    def losses(
        self, batch: TrainingBatch, share: Share, call: Mapping[str, nn.Module]
    ) -> Iterator[tuple[str, Tensor, Mapping[str, Tensor | float]]]:
        """Yield the bits of a symbol."""
        rate = RateTerm(self.tok, sample_generators(self.seed, share, "rate"))
        latents = self.tok.encode(batch.pixels, batch.fps, patches=batch.patches)
        with torch.no_grad():
            rate.dequantised(latents)
        mean, log_scale = call["context"](rate.symbols, *rate.conditions(latents))
        yield "context", symbol_bits(rate.symbols, mean, log_scale, latents), {}

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """Measure nothing."""
        return {}

    def images(self, batch: TrainingBatch, model: nn.Module) -> Mapping[str, Tensor]:
        """Show nothing."""
        return {}


def _samples(
    tok: DCSTok, source: PictureAndClipSource, training: TrainingConfig
) -> Iterator[tuple[Latents, int]]:
    """Yield latents of the run's first steps, each batch at a quality."""
    size, steps = training.batch_size, min(_TABLE_BATCHES, training.steps)
    shares = (Share(step, 0, size, size) for step in range(steps))
    for step, batch in enumerate(source.batches(shares)):
        draw = seeded_generator(training.seed, "tables", step)
        quality = int(torch.randint(QUALITIES[0], QUALITIES[1] + 1, (), generator=draw))
        yield tok.encode(batch.pixels, batch.fps, patches=batch.patches), quality


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "model", help="model folder or name; its entropy model is the start, if any"
    )
    parser.add_argument("output", type=Path, help="folder of the run")
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE")
    parser.add_argument("--steps", type=int, metavar="N", default=TRAINING.steps)
    parser.add_argument("--batch-size", type=int, metavar="N", default=TRAINING.batch_size)
    parser.add_argument("--clip-share", type=float, metavar="P", default=SCALES.clip_share)
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", default=TRAINING.optimizer.learning_rate
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="reading processes")
    parser.add_argument("--cache-mib", type=int, default=0, metavar="N", help="of decoded pictures")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def run(args: argparse.Namespace) -> str:
    """Fit the probabilities with which compression codes a model's latents."""
    scales = replace(SCALES, clip_share=args.clip_share)
    optimizer = replace(TRAINING.optimizer, learning_rate=args.learning_rate)
    training = replace(
        TRAINING,
        steps=args.steps,
        batch_size=args.batch_size,
        optimizer=optimizer,
        seed=args.seed,
    )
    check_seed(args.seed)
    check_device(args.device, each_its_own=True)
    tok = DCSTok.from_pretrained(args.model)
    assert tok.folder is not None
    known = EntropyModel.load(tok.folder) if (tok.folder / ENTROPY_FILE).exists() else None
    with joined_world(args.device) as world:
        loading = LoadingConfig(workers=args.workers, cache_mib=args.cache_mib)
        source = PictureAndClipSource(args.data, scales, seed=args.seed, config=loading)
        torch.manual_seed(args.seed)
        width = {} if known is None else {"width": known.width}
        context = ContextNetwork(tok.config.num_levels, tok.config.latent_channels, **width)
        if known is not None:
            context.load_state_dict(known.float_state())
            print(f"dcs-tok: started from the entropy model of {args.model}", file=sys.stderr)
        identity = {
            "context": config_to_dict(training) | {"tokenizer": tok.fingerprint},
            "data": source.fingerprint,
        }
        args.output.mkdir(parents=True, exist_ok=True)
        tok = tok.to(world.device)
        task = ContextTask(tok, context.to(world.device), args.seed)
        result = train(task, source, training, args.output, world=world, identity=identity)
        if not result.finished:
            return f"stopped at step {result.step} of {training.steps}; run again to go on"
        assert isinstance(result.model, ContextNetwork)
        fitted = EntropyModel.of_network(result.model.cpu(), tok.cpu())
        fitted = fit_tables(
            fitted,
            _samples(tok, source, training),
            tok.config.segments_per_second,
            KAPPA,
        )
        written = fitted.save(args.output)
        if Path(args.model).is_dir():  # where compression looks for it
            written = fitted.save(args.model)
    return f"wrote {written}: {result.step} steps, {result.seconds:.0f} s in this call"
