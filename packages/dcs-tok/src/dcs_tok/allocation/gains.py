"""What each level of each patch gains, and the best levels for a budget of them."""

import torch
from torch import Tensor

from dcs_common.geometry import PatchGrid
from dcs_common.latents import Latents
from dcs_tok.tokenizer import DCSTok


def measured_gains(tok: DCSTok, clip: Tensor, latents: Latents, grid: PatchGrid) -> Tensor:
    """Return by how much each level lowers the squared error: (b, t, h, w, n - 1), float64.

    Measured by decoding all patches at one level more each time; what a patch gains from its
    neighbours' levels is counted with its own.
    """
    errors = []
    for step in tok.decode_progressive(latents):
        rebuilt = step.pixels if step.pixels.ndim == 5 else step.pixels.unsqueeze(2)
        errors.append(_by_patch((rebuilt - clip).square_().sum(dim=1, keepdim=True), grid))
    return -torch.stack(errors, dim=-1).diff(dim=-1)


def _by_patch(values: Tensor, grid: PatchGrid) -> Tensor:
    """Sum (b, 1, T, H, W) over patches: (b, t, h, w), float64."""
    count = grid.shape[0] * grid.shape[1] * grid.shape[2]
    total = values.new_zeros(len(values), count, dtype=torch.float64)
    for group in grid.groups:
        patches = grid.take(values, group).flatten(2).sum(dim=2, dtype=torch.float64)
        total[:, grid.patch_index(group).to(total.device)] = patches
    return total.unflatten(1, grid.shape)


def predicted_gains(tok: DCSTok, latents: Latents, grid: PatchGrid) -> Tensor:
    """Return what :func:`measured_gains` would, from the latents alone, in place of decodes.

    The linear code's components are close to orthonormal: a level lowers the squared error by
    about the squares of its latents, each times the square of its component's length. What the
    networks add for a level is proportional to that, more or less.

    Raises:
        ValueError: if the model has no linear path.
    """
    if tok.linear_path is None:
        raise ValueError(
            "Gains can be predicted for a model with a linear path, but this one has none. Use "
            "the method 'greedy' or 'entropy'."
        )
    energy = []
    for segment, span in enumerate(grid.spans):
        code = tok.linear_path.still if len(span.times) == 1 else tok.linear_path.moving
        length = code.decode_weight.detach().double().flatten(2).square().sum(dim=2)  # n d
        tokens = latents.tokens[:, segment].double()
        used = length[1 : tokens.shape[3]]
        energy.append((tokens[..., 1:, :].square() * used).sum(dim=-1))
    return torch.stack(energy, dim=1)


def allocate_by_gain(gain: Tensor, budget: int, minimum: int) -> Tensor:
    """Return level counts (patches,) that spend a budget of levels on the largest gains.

    Args:
        gain: (patches, n - 1), of levels 2 to n.
        budget: levels of all patches together.
        minimum: levels that every patch gets.
    """
    patches = len(gain)
    gain = _decreasing(gain[:, minimum - 1 :])
    chosen = torch.zeros(gain.numel(), dtype=torch.long, device=gain.device)
    # The order of a stable sort takes the lower level of a patch first where gains are alike.
    order = gain.T.flatten().argsort(descending=True, stable=True)
    chosen[order[: max(0, budget - minimum * patches)]] = 1
    return minimum + chosen.view(gain.shape[1], patches).sum(dim=0)


def _decreasing(gain: Tensor) -> Tensor:
    """Replace gains by those along the convex hull of the error, which never rise.

    A level that gains little before one that gains much is worth the average of both.
    """
    count = gain.shape[1]
    hull = torch.empty_like(gain)
    for i in range(count):
        averages = [
            torch.stack(
                [gain[:, first : last + 1].mean(dim=1) for last in range(i, count)], dim=1
            ).amax(dim=1)
            for first in range(i + 1)
        ]
        hull[:, i] = torch.stack(averages, dim=1).amin(dim=1)
    return hull
