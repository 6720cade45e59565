"""Level-causal attention and the patchifier against their dense-mask references."""

from collections.abc import Callable

import torch
from measure import paired_ratio

from dcs_common.attention import level_causal_attention
from dcs_common.attention_reference import additive, lca_mask, masked_attention, pla_mask
from dcs_common.positions import level_coordinates, pixel_coordinates
from dcs_common.rope import rotate
from dcs_common.token_layout import TokenLayout
from dcs_tok import DCSTok, dcs_tok_b
from dcs_tok.patch_work import DEFAULT_MAX_MEMORY, plan_work


def attention() -> list[str]:
    """8 levels x 256 patches, 12 heads of 64, float32, forward and backward."""
    torch.manual_seed(0)
    layout = TokenLayout.of(torch.full((1, 1, 16, 16), 8))
    (group,) = layout.groups
    level = torch.arange(8).repeat_interleave(256)
    mask = additive(lca_mask(level, torch.zeros_like(level)), torch.zeros(1))
    inputs = [torch.randn(1, 2048, 12, 64, requires_grad=True) for _ in range(3)]

    def ours() -> None:
        level_causal_attention(*inputs, group).sum().backward()

    def reference() -> None:
        masked_attention(*inputs, mask).sum().backward()

    ratio, fast, plain = paired_ratio(ours, reference, rounds=9)
    return [
        f"| level-causal attention, forward + backward | {ratio:.2f} | {fast:.3f} | {plain:.3f} |"
    ]


def patchifier() -> list[str]:
    """3 blocks of width 256 over 64 patches of 256 pixels, forward and backward.

    Ours goes through the patches in the pieces that the tokenizer makes; the reference takes them
    at once.
    """
    torch.manual_seed(0)
    tok = DCSTok(dcs_tok_b())
    network = tok.patchifier
    pixels = torch.rand(64, 256, 3) * 2 - 1
    coordinates = pixel_coordinates([1], 16, 16)
    mask = additive(pla_mask(256, 8), pixels)

    plan = plan_work(256 + 8, 256, 3 * 256, 4, DEFAULT_MAX_MEMORY)

    def step(run: Callable[[torch.Tensor], torch.Tensor], at_once: int) -> Callable[[], None]:
        def call() -> None:
            network.zero_grad()
            torch.cat([run(piece) for piece in pixels.split(at_once)]).square().mean().backward()

        return call

    def reference(piece: torch.Tensor) -> torch.Tensor:
        x = network.embed(piece, coordinates, 8)
        rotation = network.rope(torch.cat([coordinates, level_coordinates(8)]), x)
        for block in network.blocks:
            normed = block.attention_norm(x)
            key, value = block.keys_values(normed)
            query = rotate(block.queries(normed), rotation)
            x = block.finish(x, masked_attention(query, rotate(key, rotation), value, mask))
        return network.norm(x)[:, 256:]

    ours = step(lambda piece: network(piece, coordinates, 8), plan.patches_at_once)
    ratio, fast, plain = paired_ratio(ours, step(reference, len(pixels)), rounds=5)
    return [
        f"| patchifier of 3 blocks, forward + backward | {ratio:.2f} | {fast:.3f} | {plain:.3f} |"
    ]


def run() -> list[str]:
    """Return a Markdown table."""
    return [
        "| ours against the dense-mask reference | ratio | ours, s | reference, s |",
        "|---|---|---|---|",
        *attention(),
        *patchifier(),
    ]
