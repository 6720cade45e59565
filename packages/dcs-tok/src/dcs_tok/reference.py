"""The tokenizer as the paper draws it: every token computed, every pattern a dense mask.

Uses the weights of a :class:`~dcs_tok.tokenizer.DCSTok` and none of its savings: no slices, no
dropped tokens, no shared pixel queries, no pieces. Tests hold the tokenizer against it, and
benchmarks measure against it. Differentiable; needs memory for all patches at once.
"""

import torch
from torch import Tensor

from dcs_common.attention import pixel_logit_bias
from dcs_common.attention_reference import additive, lca_mask, lpa_mask, masked_attention, pla_mask
from dcs_common.geometry import PatchGrid, PatchGroup
from dcs_common.positions import latent_coordinates, level_coordinates
from dcs_common.rope import rotate
from dcs_tok.canonical_patch import to_canonical
from dcs_tok.depatchifier import Depatchifier
from dcs_tok.patchifier import Patchifier
from dcs_tok.tokenizer import DCSTok
from dcs_tok.trunk import Trunk


def _trunk(trunk: Trunk, tokens: Tensor, level_map: Tensor) -> Tensor:
    """Run a trunk on (b, t, h, w, n, c) with all n levels of all patches under one mask."""
    b, t, h, w, n, _ = tokens.shape
    x = trunk.tokens_in(tokens)
    if trunk.level_embedding is not None:
        x = x + trunk.level_embedding[:n]
    x = x.permute(0, 4, 1, 2, 3, 5).flatten(1, 4)  # level-major
    level = torch.arange(1, n + 1).repeat_interleave(t * h * w)
    segment = torch.arange(t).repeat_interleave(h * w).repeat(n)
    is_active = level <= level_map.flatten(1).repeat(1, n)
    mask = additive(lca_mask(level, segment, is_active), x).unsqueeze(1)
    rotation = trunk.rope(latent_coordinates((t, h, w), n).flatten(0, 1), x)
    for block in trunk.blocks:
        query, key, value = block.attention.project(block.attention_norm(x))
        attended = masked_attention(rotate(query, rotation), rotate(key, rotation), value, mask)
        x = x + block.attention.out(attended.flatten(2))
        x = x + block.feed_forward(block.feed_forward_norm(x))
    out = trunk.tokens_out(trunk.norm(x))
    out = out.view(b, n, t, h, w, -1).permute(0, 2, 3, 4, 1, 5)
    return out * (torch.arange(n) < level_map.unsqueeze(-1)).unsqueeze(-1)


def _patch_blocks(
    network: Patchifier | Depatchifier, x: Tensor, coordinates: Tensor, mask: Tensor
) -> Tensor:
    """Run all blocks of a patchifier or depatchifier on (p, P + n, width) under a mask."""
    levels = x.shape[1] - len(coordinates)
    rotation = network.rope(torch.cat([coordinates, level_coordinates(levels)]), x)
    for block in network.blocks:
        normed = block.attention_norm(x)
        key, value = block.keys_values(normed)
        query = rotate(block.queries(normed), rotation)
        x = block.finish(x, masked_attention(query, rotate(key, rotation), value, mask))
    return network.norm(x)


def _dilution(network: Patchifier | Depatchifier, mask: Tensor, count: int, rows: slice) -> Tensor:
    """Add the bias on pixel keys for the queries in ``rows``."""
    bias = torch.zeros_like(mask)
    bias[..., rows, :count] = pixel_logit_bias(count, network.config.pixel_logit_reference)
    return mask + bias


def encode(tok: DCSTok, clip: Tensor, grid: PatchGrid, level_map: Tensor) -> Tensor:
    """Return tokens (b, t, h, w, n, d) of clips (b, 3, T, H, W); inactive ones are zero."""
    n, b = tok.config.num_levels, len(clip)
    network, canonical_config = tok.patchifier, tok.config.canonical
    tokens = clip.new_zeros(b, level_map[0].numel(), n, tok.config.patchifier.width)
    linear = clip.new_zeros(b, level_map[0].numel(), n, tok.config.latent_channels)
    for group in grid.groups:
        patches = grid.take(clip, group).flatten(0, 1)
        canonical = None
        if canonical_config is not None:
            canonical = to_canonical(
                patches, group.times, canonical_config.frames, canonical_config.grid
            )
        inputs = tok.pixel_tokens.embeddable(patches, canonical)
        coordinates = tok.pixel_tokens.encoding_coordinates(group)
        count = inputs.shape[1]
        mask = additive(pla_mask(count, n, tok.config.patchifier.pixel_attention), clip)
        mask = _dilution(network, mask, count, slice(count, None))
        x = _patch_blocks(network, network.embed(inputs, coordinates, n), coordinates, mask)
        index = grid.patch_index(group)
        tokens = tokens.index_copy(1, index, x[:, count:].unflatten(0, (b, -1)))
        if tok.linear_path is not None and canonical is not None:
            code = tok.linear_path.encode(canonical, n).unflatten(0, (b, -1))
            linear = linear.index_copy(1, index, code)
    shape = (b, *grid.shape, n, -1)
    is_active = (torch.arange(n) < level_map.unsqueeze(-1)).unsqueeze(-1)
    return _trunk(tok.encoder, tokens.view(shape), level_map) + linear.view(shape) * is_active


def decode(
    tok: DCSTok, tokens: Tensor, grid: PatchGrid, level_map: Tensor, source: PatchGrid | None = None
) -> Tensor:
    """Return pixels (b, 3, T, H, W), not clamped, of tokens (b, t, h, w, n, d).

    ``grid`` lies over the pixels asked for, ``source`` over those that were encoded, if it is
    another one.
    """
    b, n = len(tokens), tokens.shape[4]
    network = tok.depatchifier
    decoded = _trunk(tok.decoder, tokens, level_map).flatten(1, 3)
    parts: list[tuple[PatchGroup, Tensor]] = []
    for group in grid.groups:
        index = grid.patch_index(group)
        coordinates = tok.pixel_tokens.decoding_coordinates(group)
        count = len(coordinates)
        latents = network.latents_in(decoded[:, index].flatten(0, 1))
        x = torch.cat(
            [network.pixel_tokens(coordinates).expand(len(latents), -1, -1), latents], dim=1
        )
        counts = level_map.flatten(1)[:, index].flatten()
        is_active = torch.cat(
            [
                torch.ones(len(counts), count, dtype=torch.bool),
                torch.arange(n) < counts.unsqueeze(-1),
            ],
            dim=1,
        )
        may_attend = lpa_mask(count, n, tok.config.depatchifier.pixel_attention)
        # A dropped latent still sees itself, so that its row is defined; nobody sees it.
        itself = torch.eye(count + n, dtype=torch.bool)
        mask = additive((may_attend & is_active.unsqueeze(1)) | itself, tokens).unsqueeze(1)
        mask = _dilution(network, mask, count, slice(0, count))
        x = _patch_blocks(network, x, coordinates, mask)[:, :count]
        linear = None
        if tok.linear_path is not None:
            inactive = torch.arange(n) >= counts.unsqueeze(-1)
            code = tokens.flatten(1, 3)[:, index].flatten(0, 1)
            code = code.masked_fill(inactive.unsqueeze(-1), 0)
            is_still = torch.tensor([len(span.times) == 1 for span in (source or grid).spans])
            segment = (index // (grid.rows * grid.columns)).repeat(b)
            linear = torch.where(
                is_still[segment].view(-1, 1, 1, 1, 1),
                tok.linear_path.decode(code, group.times, True),
                tok.linear_path.decode(code, group.times, False),
            )
        patches = tok.pixel_tokens.read(network.pixels_out(x), linear, group)
        parts.append((group, patches.unflatten(0, (b, -1))))
    return grid.assemble(parts)
