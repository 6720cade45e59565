"""The tokenizer as the paper draws it: every token computed, every pattern a dense mask.

Uses the weights of a :class:`~dcs_tok.tokenizer.DCSTok` and none of its savings: no slices, no
dropped tokens, no shared pixel queries, no pieces. Tests hold the tokenizer against it, and
benchmarks measure against it. Differentiable; needs memory for all patches at once.
"""

from fractions import Fraction

import torch
from torch import Tensor

from dcs_common.attention import pixel_logit_bias
from dcs_common.attention_reference import additive, lca_mask, lpa_mask, masked_attention, pla_mask
from dcs_common.geometry import PatchGrid, PatchGroup
from dcs_common.positions import latent_coordinates, level_coordinates
from dcs_common.rope import rotate
from dcs_tok.canonical_patch import read_frames, temporal_matrices, to_canonical
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


def _encode_canonical(tok: DCSTok, picture: Tensor, n: int) -> Tensor:
    """Encode one segment's canonical picture (b, h, w, F, g, g, 3) with all levels at once."""
    kind = "still" if picture.shape[3] == 1 else "moving"
    assert tok.linear_path is not None, "only called for models with a canonical code"
    code = tok.linear_path.encode(picture.flatten(0, 2), n).unflatten(0, picture.shape[:3])
    return code if tok.encoder_networks is None else code + tok.encoder_networks[kind](picture)


def _decode_canonical(tok: DCSTok, codes: Tensor, level_map: Tensor, is_still: bool) -> Tensor:
    """Decode one segment's canonical picture: one pass for every patch, which alone is kept."""
    path, kind = tok.linear_path, "still" if is_still else "moving"
    assert path is not None, "only called for models with a canonical code"
    frames = 1 if is_still else path.moving.frames
    times = tuple(Fraction(i + 1, frames) for i in range(frames))
    samples = []
    for codes_of_sample, levels in zip(codes, level_map, strict=True):
        patches: list[Tensor] = []
        for count in levels.flatten().tolist():
            held = levels.clamp(max=count)
            shown = torch.arange(codes.shape[3]) < held.unsqueeze(-1)
            latents = codes_of_sample * shown.unsqueeze(-1)
            linear = path.decode(latents.flatten(0, 1), times, is_still)
            picture = linear.unflatten(0, levels.shape)
            if tok.decoder_networks is not None:
                added = tok.decoder_networks[kind](picture[None], latents[None], held[None])
                picture = picture + added[0]
            patches.append(picture.flatten(0, 1)[len(patches)])
        samples.append(torch.stack(patches))
    return torch.stack(samples)


def encode(tok: DCSTok, clip: Tensor, grid: PatchGrid, level_map: Tensor) -> Tensor:
    """Return tokens (b, t, h, w, n, d) of clips (b, 3, T, H, W); inactive ones are zero."""
    n, b = tok.config.num_levels, len(clip)
    network, canonical_config = tok.patchifier, tok.config.canonical
    tokens = clip.new_zeros(b, level_map[0].numel(), n, network.config.width if network else 1)
    canonical: dict[int, Tensor] = {}
    for group in grid.groups:
        patches = grid.take(clip, group).flatten(0, 1)
        index = grid.patch_index(group)
        cells = None
        if canonical_config is not None:
            cells = to_canonical(
                patches, group.times, canonical_config.frames, canonical_config.grid
            )
            by_patch = cells.unflatten(0, (b, -1))
            canonical.update({int(p): by_patch[:, i] for i, p in enumerate(index)})
        if network is None:
            continue
        inputs = tok.pixel_tokens.embeddable(patches, cells)
        coordinates = tok.pixel_tokens.encoding_coordinates(group)
        count = inputs.shape[1]
        mask = additive(pla_mask(count, n, network.config.pixel_attention), clip)
        mask = _dilution(network, mask, count, slice(count, None))
        x = _patch_blocks(network, network.embed(inputs, coordinates, n), coordinates, mask)
        tokens = tokens.index_copy(1, index, x[:, count:].unflatten(0, (b, -1)))
    is_active = (torch.arange(n) < level_map.unsqueeze(-1)).unsqueeze(-1)
    code = clip.new_zeros(*is_active.shape[:-1], tok.config.latent_channels)
    if network is not None and tok.encoder is not None:
        code = code + _trunk(tok.encoder, tokens.view(b, *grid.shape, n, -1), level_map)
    if tok.linear_path is not None:
        segments = []
        size = grid.rows * grid.columns
        for segment in range(len(grid.spans)):
            picture = torch.stack([canonical[segment * size + p] for p in range(size)], dim=1)
            picture = picture.unflatten(1, (grid.rows, grid.columns))
            segments.append(_encode_canonical(tok, picture, n))
        code = code + torch.stack(segments, dim=1) * is_active
    return code


def decode(
    tok: DCSTok, tokens: Tensor, grid: PatchGrid, level_map: Tensor, source: PatchGrid | None = None
) -> Tensor:
    """Return pixels (b, 3, T, H, W), not clamped, of tokens (b, t, h, w, n, d).

    ``grid`` lies over the pixels asked for, ``source`` over those that were encoded, if it is
    another one.
    """
    b = len(tokens)
    decoded = None
    if tok.decoder is not None:
        decoded = _trunk(tok.decoder, tokens, level_map).flatten(1, 3)
    canonical = []
    if tok.linear_path is not None:
        for s, span in enumerate((source or grid).spans):
            canonical.append(
                _decode_canonical(tok, tokens[:, s], level_map[:, s], len(span.times) == 1)
            )
    parts: list[tuple[PatchGroup, Tensor]] = []
    for group in grid.groups:
        index = grid.patch_index(group)
        outputs = None
        if decoded is not None:
            counts = level_map.flatten(1)[:, index].flatten()
            outputs = _depatchify(tok, decoded[:, index].flatten(0, 1), counts, group)
        linear = None
        if canonical:
            segment, place = index // (grid.rows * grid.columns), index % (grid.rows * grid.columns)
            read = [
                read_frames(frames, temporal_matrices(group.times, frames.shape[1])[1])
                for frames in (
                    canonical[s][:, p]
                    for s, p in zip(segment.tolist(), place.tolist(), strict=True)
                )
            ]
            linear = torch.stack(read, dim=1).flatten(0, 1)
        patches = tok.pixel_tokens.read(outputs, linear, group)
        parts.append((group, patches.unflatten(0, (b, -1))))
    return grid.assemble(parts)


def _depatchify(tok: DCSTok, tokens: Tensor, counts: Tensor, group: PatchGroup) -> Tensor:
    """Return the outputs (p, P, c) of patches with decoder tokens (p, n, width)."""
    network, n = tok.depatchifier, tokens.shape[1]
    assert network is not None, "only called for models with transformers"
    coordinates = tok.pixel_tokens.decoding_coordinates(group)
    count = len(coordinates)
    latents = network.latents_in(tokens)
    x = torch.cat([network.pixel_tokens(coordinates).expand(len(latents), -1, -1), latents], dim=1)
    is_active = torch.cat(
        [
            torch.ones(len(counts), count, dtype=torch.bool),
            torch.arange(n) < counts.unsqueeze(-1),
        ],
        dim=1,
    )
    may_attend = lpa_mask(count, n, network.config.pixel_attention)
    # A dropped latent still sees itself, so that its row is defined; nobody sees it.
    itself = torch.eye(count + n, dtype=torch.bool)
    mask = additive((may_attend & is_active.unsqueeze(1)) | itself, tokens).unsqueeze(1)
    mask = _dilution(network, mask, count, slice(0, count))
    return network.pixels_out(_patch_blocks(network, x, coordinates, mask)[:, :count])
