"""The patch discriminator: what a logit sees, and what it must not."""

import pytest
import torch
from torch import Tensor

from dcs_tok.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from dcs_tok.losses.adversarial import hinge_discriminator_loss

from .errors import error
from .tiny_models import random_pixels


def discriminator(layers: int = 3, width: int = 5, seed: int = 0) -> PatchDiscriminator:
    """Small, float64, in eval mode; the same one for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = PatchDiscriminatorConfig(width=width, strided_layers=layers)
        return PatchDiscriminator(config).double().eval()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_any_size_from_the_smallest_on(layers: int) -> None:
    judge = discriminator(layers)
    smallest = judge.config.smallest_side
    assert smallest == 3 * 2**layers
    for height, width in [(smallest, smallest + 1), (37, 53), (smallest, 41)]:
        logits = judge(random_pixels(2, 3, height, width))
        assert logits.shape == (2, 1, height // 2**layers - 2, width // 2**layers - 2)
    for size in [(smallest - 1, 53), (53, smallest - 1)]:
        message = (
            f"Pictures must have at least {smallest} pixels a side for this discriminator, but "
            f"have {size[1]}x{size[0]}. Enlarge them, or use fewer `strided_layers`."
        )
        with error(message):
            judge(random_pixels(2, 3, *size))


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_its_window_and_nothing_else(layers: int, side: int) -> None:
    judge = discriminator(layers)
    assert judge.config.window == side
    pixels = random_pixels(1, 3, 97, 103).requires_grad_()
    logits = judge(pixels)
    place = (0, 0, logits.shape[2] // 2, logits.shape[3] // 2)
    (gradient,) = torch.autograd.grad(logits[place], pixels)
    seen = gradient[0].abs().sum(dim=0) > 0
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    assert int(rows[-1] - rows[0]) + 1 == int(columns[-1] - columns[0]) + 1 == side
    assert int(seen.sum()) == side**2
    changed = torch.where(seen, pixels.detach(), 0.0)
    assert not torch.equal(changed, pixels)
    assert torch.equal(judge(changed)[place], logits[place])


def test_batch_mates_do_not_matter() -> None:
    judge, pixels = discriminator(), random_pixels(3, 3, 37, 41).requires_grad_()
    alone = judge(pixels[1:2])
    torch.testing.assert_close(judge(pixels)[1:2], alone, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(judge.train()(pixels)[1].sum(), pixels)
    assert gradient[1].any()
    assert not gradient[[0, 2]].any()


def test_clips_are_judged_frame_by_frame() -> None:
    judge, clip = discriminator(), random_pixels(2, 3, 5, 29, 31)
    logits = judge(clip)
    assert len(logits) == 10
    for sample in range(2):
        for frame in range(5):
            alone = judge(clip[sample, None, :, frame])
            torch.testing.assert_close(logits[5 * sample + frame, None], alone, rtol=0, atol=1e-12)


def test_black_and_white_enter_as_minus_one_and_one() -> None:
    judge, entered = discriminator(), []
    judge.convolutions[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    for value in (0.0, 1.0):
        judge(torch.full((1, 3, 25, 31), value, dtype=torch.float64))
    assert [pixels.unique().tolist() for pixels in entered] == [[-1.0], [1.0]]


def test_gradients_are_those_of_finite_differences() -> None:
    judge, pixels = discriminator(1, 3), random_pixels(1, 3, 7, 8).requires_grad_()
    assert torch.autograd.gradcheck(judge, pixels)


def test_every_weight_learns_and_two_passes_share_a_backward() -> None:
    judge = discriminator().train()
    real, fake = (judge(random_pixels(2, 3, 31, 37, seed=seed)) for seed in (0, 1))
    loss = real.square().mean() - fake.mean()  # in the hinge losses the last bias may cancel
    loss.backward()
    for name, parameter in judge.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_no_weight_stretches_more_than_one() -> None:
    judge = discriminator(2).train()
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.mul_(7)
        for _ in range(300):
            judge(random_pixels(1, 3, 12, 13))
    for convolution in judge.eval().convolutions:
        norm = torch.linalg.matrix_norm(convolution.weight.flatten(1), ord=2)
        assert norm.item() == pytest.approx(1, abs=1e-3)


def test_saving_keeps_all_that_decides_a_logit() -> None:
    judge, again = discriminator().train(), discriminator(seed=1).train()
    pixels = random_pixels(2, 3, 31, 37)
    judge(pixels)
    again.load_state_dict(judge.state_dict())
    for _ in range(2):  # in training mode each pass moves the singular vectors
        assert torch.equal(judge(pixels), again(pixels))


def test_channels_double_up_to_eight_times_the_width() -> None:
    shapes = [tuple(layer.weight.shape[:2]) for layer in discriminator(5, 2).convolutions]
    assert shapes == [(2, 3), (4, 2), (8, 4), (16, 8), (16, 16), (16, 16), (1, 16)]
    default = PatchDiscriminator()
    assert [layer.out_channels for layer in default.convolutions] == [64, 128, 256, 512, 1]


def blurred(pixels: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)


def test_it_learns_to_tell_sharp_from_blurred() -> None:
    judge = discriminator(2, 8).float().train()
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3, betas=(0.5, 0.9))
    for step in range(40):
        sharp = random_pixels(4, 3, 24, 24, dtype=torch.float32, seed=step)
        loss = hinge_discriminator_loss(judge(sharp), judge(blurred(sharp)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = random_pixels(8, 3, 24, 24, dtype=torch.float32, seed=1000)
    with torch.no_grad():
        assert judge(unseen).min() > judge(blurred(unseen)).max()


@pytest.mark.parametrize("name", ["width", "strided_layers"])
def test_settings_are_checked(name: str) -> None:
    with error(f"`{name}` must be at least 1, but is 0. Use a larger one."):
        PatchDiscriminatorConfig(**{name: 0})
