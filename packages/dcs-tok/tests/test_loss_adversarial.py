"""Hinge losses, LeCAM and the adaptive weight, against values by hand."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcs_tok.losses.adversarial import (
    LeCAM,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)

from .errors import error


def test_hinge_by_hand() -> None:
    real = torch.tensor([[2.0, 0.5], [-1.0, 1.0]])  # short of 1 by 0, 0.5, 2 and 0
    fake = torch.tensor([-2.0, -1.0, 0.25, 3.0, -0.5])  # beyond -1 by 0, 0, 1.25, 4 and 0.5
    loss = hinge_discriminator_loss(real, fake)
    assert loss.item() == pytest.approx((2.5 / 4 + 5.75 / 5) / 2)
    assert hinge_generator_loss(fake).item() == pytest.approx(0.25 / 5)


def test_hinge_pulls_only_what_is_not_yet_beyond_it() -> None:
    real = torch.tensor([2.0, 0.5, -1.0], requires_grad=True)
    fake = torch.tensor([-2.0, 0.25], requires_grad=True)
    gradients = torch.autograd.grad(hinge_discriminator_loss(real, fake), [real, fake])
    torch.testing.assert_close(gradients[0], torch.tensor([0, -1 / 6, -1 / 6]))
    torch.testing.assert_close(gradients[1], torch.tensor([0, 1 / 4]))
    (gradient,) = torch.autograd.grad(hinge_generator_loss(fake), fake)
    torch.testing.assert_close(gradient, torch.tensor([-1 / 2, -1 / 2]))


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_lecam_by_hand_over_three_steps() -> None:
    lecam = LeCAM(decay=0.75, weight=0.5).double()
    # Averages after each step: real 0.5, 0.125, 0.84375; fake -0.25, 0.3125, -0.015625.
    loss = lecam(doubles(1.0, 3.0), doubles(-2.0, 0.0))
    expected = ((1.25**2 + 3.25**2) / 2 + (2.5**2 + 0.5**2) / 2) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    loss = lecam(doubles(-1.0), doubles(4.0, 0.0, 2.0))
    expected = (0 + 0.125**2 / 3) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    loss = lecam(doubles(0.0, 6.0), doubles(-1.0))
    expected = ((0.015625**2 + 6.015625**2) / 2 + 1.84375**2) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert (lecam.real_average.item(), lecam.fake_average.item()) == (0.84375, -0.015625)


def test_lecams_state_survives_saving_and_rests_in_eval_mode() -> None:
    lecam, again = LeCAM(decay=0.75), LeCAM(decay=0.75)
    batches = [(torch.tensor([2.0, 1.0]), torch.tensor([-0.5])) for _ in range(2)]
    lecam(*batches[0])
    again.load_state_dict(lecam.state_dict())
    assert lecam.state_dict().keys() == {"real_average", "fake_average"}
    assert torch.equal(lecam(*batches[1]), again(*batches[1]))
    state = {key: value.clone() for key, value in lecam.state_dict().items()}
    first = lecam.eval()(*batches[0])
    assert torch.equal(first, lecam(*batches[0]))
    assert all(torch.equal(state[key], value) for key, value in lecam.state_dict().items())


def test_lecams_gradient_takes_the_averages_as_constants_and_may_come_late() -> None:
    lecam = LeCAM(decay=0.5, weight=1.0).double()
    real, fake = (doubles(value).requires_grad_() for value in (3.0, -2.0))
    loss = lecam(real, fake)  # averages 1.5 and -1
    lecam(real, fake)
    gradients = torch.autograd.grad(loss, [real, fake])
    assert [value.item() for value in gradients] == [2 * (3 + 1), -2 * (1.5 + 2)]


def test_lecams_defaults_are_those_of_the_cited_work() -> None:
    lecam = LeCAM()
    assert (lecam.decay, lecam.weight) == (0.999, 0.001)
    for decay in (1.0, -0.5):
        with error(f"`decay` must be in [0, 1), but is {decay}. Use 0.999."):
            LeCAM(decay=decay)


def test_the_adaptive_weight_of_two_parameters() -> None:
    weight = torch.tensor([1.5, 2.0], requires_grad=True)
    main = 5 * weight[0] - 12 * weight[1]  # gradient (5, -12), length 13
    adversarial = weight[0] * weight[1] * 2  # gradient (4, 3), length 5
    found = adaptive_weight(main, adversarial, weight)
    assert found.item() == pytest.approx(13 / 5.0001, rel=1e-6)
    assert not found.requires_grad
    # Both graphs serve again, for the step itself.
    (gradient,) = torch.autograd.grad(main + found * adversarial, weight)
    assert gradient.tolist() == pytest.approx([5 + 4 * found.item(), -12 + 3 * found.item()])


@pytest.mark.parametrize(
    ("main", "adversarial", "expected"), [(5.0, 0.0, 1e4), (0.0, 2.0, 0.0), (5e-3, 0.0, 50.0)]
)
def test_the_adaptive_weight_at_its_ends(main: float, adversarial: float, expected: float) -> None:
    weight = torch.tensor([1.0], requires_grad=True)
    found = adaptive_weight(main * weight.sum(), adversarial * weight.sum(), weight)
    assert found.item() == pytest.approx(expected)


# Each process has half of the batch; both must find what one process finds on all of it.
HALF_EACH = """
import sys
import torch, torch.distributed as dist
from dcs_tok.losses.adversarial import LeCAM, adaptive_weight

def found(samples):
    weight = torch.tensor([1.5, 2.0], requires_grad=True)
    outputs = samples * weight
    lecam = LeCAM(decay=0.5)
    lecam(outputs, -2 * outputs)
    lam = adaptive_weight(outputs.square().mean(), outputs.sin().mean(), weight)
    return torch.stack([lam, lecam.real_average, lecam.fake_average])

samples = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
rank = int(sys.argv[1])
whole, half = found(samples), samples.chunk(2)[rank]
alone = found(half)
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
torch.testing.assert_close(found(half), whole)
assert not torch.allclose(alone, whole, rtol=0.01)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path / 'meeting'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HALF_EACH, str(rank), meeting],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
