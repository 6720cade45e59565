"""One step of the loop against what a few plain lines give."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import cos, pi, sqrt
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dcs_common.training import OptimizerConfig, Share, World
from dcs_common.training.averaging import averaged_model
from dcs_common.training.loop import _Run
from dcs_common.training.optimizers import NetworkOptimizer, rate_factor

from .toy_training import (
    Game,
    Regression,
    ToyBatch,
    ToySource,
    assert_same_run,
    lines,
    saved,
    settings,
    train_toy,
)

EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 0, "atol": 1e-9}


def weights(folder: Path, prefix: str = "network/model/") -> dict[str, Tensor]:
    return {k: v for k, v in saved(folder).items() if k.startswith(prefix)}


# ---------------------------------------------------------------------- micro-batches


@pytest.mark.parametrize("accumulate", [2, 4, 8])
@pytest.mark.parametrize("kind", [Regression, Game])
def test_micro_batches_are_the_whole_batch(
    kind: type[Regression], accumulate: int, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_toy(kind(torch.float64), settings(), whole)
    train_toy(kind(torch.float64), settings(accumulate=accumulate), parts)
    left, right = saved(whole), saved(parts)
    assert left.keys() == right.keys()
    assert any(key.endswith("/exp_avg") for key in left)
    for name in left:
        torch.testing.assert_close(left[name], right[name], **CLOSE, msg=name)
    for one, other in zip(lines(whole), lines(parts), strict=True):
        assert one == pytest.approx(other, rel=0, abs=1e-9)


@given(
    world_size=st.sampled_from([1, 2, 3, 5]),
    accumulate=st.sampled_from([1, 2, 3, 7]),
    size=st.integers(1, 4),
    step=st.integers(0, 5),
)
def test_shares_divide_each_step_among_processes_and_micro_batches(
    world_size: int, accumulate: int, size: int, step: int
) -> None:
    config = settings(batch_size=world_size * accumulate * size, accumulate=accumulate)
    found = []
    for rank in range(world_size):
        run = _Run.__new__(_Run)
        run.world = World(rank, world_size, torch.device("cpu"))
        run.config, run.share_size = config, config.samples_per_share(world_size)
        shares = list(run.shares(step))
        assert len(shares) == accumulate
        assert {(s.step, s.batch_size, s.stop - s.start) for s in shares} == {
            (step, config.batch_size, size)
        }
        found += [number for share in shares for number in range(share.start, share.stop)]
    assert sorted(found) == list(range(config.batch_size))


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    message = (
        "^`batch_size` must be a multiple of processes times `accumulate`, but is 8 for 1 "
        "processes and `accumulate` 3. Change one of them.$"
    )
    with pytest.raises(ValueError, match=message):
        train_toy(Regression(), settings(accumulate=3), tmp_path)


# ---------------------------------------------------------------------- gradients


class Slope(Regression):
    """A loss that is linear in its one weight, (3, 4): the gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        module = nn.Module()
        module.slope = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
        module.register_buffer("last_step", torch.zeros((), dtype=torch.int64))
        self.networks = {"model": module}
        self.gradient = torch.tensor([6.0, 8.0], dtype=torch.float64)

    def losses(self, batch: ToyBatch, share: Share, call: Mapping[str, nn.Module]):
        yield "model", (call["model"].slope * self.gradient).sum(), {}


@pytest.mark.parametrize(
    ("clip_norm", "expected"), [(None, 1.0), (10.5, 1.0), (5.0, 0.5), (2.5, 0.25)]
)
def test_clipping_scales_the_gradient_to_the_norm(
    clip_norm: float | None, expected: float, tmp_path: Path
) -> None:
    """The gradient (6, 8) has norm 10; AdamW's first moment is a tenth of what it was given."""
    config = settings(steps=1, clip_norm=clip_norm, log_every=1, validate_every=0)
    train_toy(Slope(), config, tmp_path)
    moment = saved(tmp_path)["optimizer/model/slope/exp_avg"]
    torch.testing.assert_close(moment, 0.1 * expected * Slope().gradient, rtol=1e-6, atol=0)
    assert lines(tmp_path)[0]["gradient/model"] == 10.0


def test_each_network_is_clipped_by_itself(tmp_path: Path) -> None:
    train_toy(Game(), settings(clip_norm=0.01, log_every=1), tmp_path)
    logged = [line for line in lines(tmp_path) if "loss/model" in line]
    assert all(line["gradient/model"] > 0.5 for line in logged)  # logged as it was before
    assert all((line["gradient/critic"] > 0.5) == (line["step"] != 3) for line in logged)
    moments = saved(tmp_path)
    for network in ("model", "critic"):
        of_one = [v for k, v in moments.items() if f"/{network}/" in k and k.endswith("exp_avg")]
        norm = sqrt(sum(float(v.square().sum()) for v in of_one))
        assert 0 < norm < 0.01


def test_a_step_is_adamw_on_the_mean_gradient(tmp_path: Path) -> None:
    """Eleven steps with every part of the settings, written out."""
    config = settings(accumulate=2)
    train_toy(Regression(torch.float64), config, tmp_path)

    task, average = Regression(torch.float64), None
    model = task.networks["model"]
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim == 1]
    plain = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        foreach=False,
        fused=False,
    )
    shares = (Share(step, 0, 8, 8) for step in range(11))
    for step, batch in enumerate(ToySource(torch.float64).batches(shares)):
        plain.zero_grad()
        ((_, loss, _),) = task.losses(batch, Share(step, 0, 8, 8), task.networks)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matrices + vectors, 0.7)
        warm = min(1, (step + 1) / 4)
        done = max(0, step - 3) / 8
        for group in plain.param_groups:
            group["lr"] = 0.02 * warm * (0.1 + 0.9 * (1 + cos(pi * done)) / 2)
        plain.step()
        now = {name: value.clone() for name, value in model.state_dict().items()}
        decay = 0.0 if average is None else min(0.9, (1 + step) / (10 + step))
        average = {
            name: value
            if not value.is_floating_point() or average is None
            else decay * average[name] + (1 - decay) * value
            for name, value in now.items()
        }
    found = saved(tmp_path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[f"network/model/{name}"], value, **CLOSE, msg=name)
        torch.testing.assert_close(
            found[f"average/module.{name}"], average[name], **CLOSE, msg=name
        )
    assert not torch.equal(found["average/module.rare"], found["network/model/rare"])


def test_weights_without_gradient_stay_as_they_are(tmp_path: Path) -> None:
    """Frozen ones always, the others in steps that do not use them."""
    before = {k: v.clone() for k, v in Regression().networks["model"].state_dict().items()}
    train_toy(Regression(rare=(0, 0)), settings(), tmp_path / "never")
    found = saved(tmp_path / "never")
    assert torch.equal(found["network/model/frozen"], before["frozen"])
    assert torch.equal(found["average/module.frozen"], before["frozen"])
    assert torch.equal(found["network/model/rare"], before["rare"])
    assert not torch.equal(found["network/model/first.weight"], before["first.weight"])
    assert not any("/frozen/" in key or "/rare/" in key for key in found)
    # Step 1 is odd and moves it; step 2 is even, and momentum must not move it on.
    for steps in (1, 2, 3, 4):
        config = settings(steps=steps, optimizer=OptimizerConfig(learning_rate=0.02))
        train_toy(Regression(), config, tmp_path / str(steps))
    rare = [weights(tmp_path / str(steps))["network/model/rare"] for steps in (1, 2, 3, 4)]
    assert torch.equal(rare[0], before["rare"])
    assert not torch.equal(rare[1], before["rare"])
    assert torch.equal(rare[2], rare[1])
    assert not torch.equal(rare[3], rare[2])


# ---------------------------------------------------------------------- optimisers


def test_weight_decay_shrinks_matrices_alone() -> None:
    """With zero gradients nothing else happens to a weight."""
    network = Regression().networks["model"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.1)
    optimizer = NetworkOptimizer(network, config, 10, ())
    for parameter in optimizer.parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0)
    for name, parameter in network.named_parameters():
        shrunk = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), shrunk * before[name], msg=name)


def test_parameters_learn_at_the_rate_of_their_prefix() -> None:
    """AdamW's first step moves every weight by the rate."""
    network = Regression().networks["model"].double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = OptimizerConfig(learning_rate=0.1, factors=(("first.", 0.3), ("second.bias", 2.0)))
    optimizer = NetworkOptimizer(network, config, 10, ())
    for parameter in optimizer.parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0)
    expected = {"first.weight": 0.03, "first.bias": 0.03, "second.bias": 0.2, "frozen": 0.0}
    for name, parameter in network.named_parameters():
        moved = (before[name] - parameter.detach()).expand_as(parameter)
        rate = torch.full_like(moved, expected.get(name, 0.1))
        torch.testing.assert_close(moved, rate, rtol=1e-6, atol=0, msg=name)


def test_muon_takes_the_named_matrices() -> None:
    """Its step is a matrix with equal singular values, whatever the gradient's."""
    network = Regression().networks["model"].double()
    before = network.first.weight.detach().clone()
    config = OptimizerConfig(learning_rate=0.1, matrix_learning_rate=0.2)
    optimizer = NetworkOptimizer(network, config, 10, ["first.weight"])
    torch.manual_seed(1)
    for parameter in optimizer.parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(0)
    values = torch.linalg.svdvals(before - network.first.weight.detach())
    assert values.max() / values.min() < 2 < torch.linalg.cond(network.first.weight.grad)
    assert set(optimizer.tensors()) == {
        "first.weight/momentum_buffer",
        *(
            f"{name}/{entry}"
            for name in ("first.bias", "second.weight", "second.bias", "rare")
            for entry in ("step", "exp_avg", "exp_avg_sq")
        ),
    }


@pytest.mark.parametrize(
    ("step", "constant", "cosine"),
    [
        (0, 0.25, 0.25),
        (1, 0.5, 0.5),
        (2, 0.75, 0.75),
        (3, 1.0, 1.0),
        (4, 1.0, 0.2 + 0.8 * (1 + sqrt(0.5)) / 2),
        (5, 1.0, 0.6),
        (6, 1.0, 0.2 + 0.8 * (1 - sqrt(0.5)) / 2),
        (7, 1.0, 0.2),
    ],
)
def test_schedule_by_hand(step: int, constant: float, cosine: float) -> None:
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=3, final_fraction=0.2)
    assert rate_factor(config, step, 7) == pytest.approx(constant)
    assert rate_factor(replace(config, schedule="cosine"), step, 7) == pytest.approx(cosine)


def test_without_warmup_the_first_step_has_the_full_rate() -> None:
    for schedule in ("constant", "cosine"):
        config = OptimizerConfig(learning_rate=0.1, schedule=schedule)
        assert rate_factor(config, 0, 5) == 1.0


# ---------------------------------------------------------------------- averages, precision


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_is_a_plain_recursion(decay: float) -> None:
    torch.manual_seed(2)
    model = nn.Linear(3, 5).double()
    average, expected = averaged_model(model, decay), None
    for count in range(23):
        with torch.no_grad():
            model.weight.add_(torch.randn(5, 3, dtype=torch.float64))
        average.update_parameters(model)
        d = 0.0 if expected is None else min(decay, (1 + count) / (10 + count))
        now = model.weight.detach().clone()
        expected = now if expected is None else d * expected + (1 - d) * now
        torch.testing.assert_close(average.module.weight.detach(), expected, **CLOSE)


def test_the_result_is_the_averaged_model(tmp_path: Path) -> None:
    task = Regression()
    result = train_toy(task, settings(), tmp_path / "with")
    for name, value in result.model.state_dict().items():
        assert torch.equal(value, saved(tmp_path / "with")[f"average/module.{name}"]), name
    task = Regression()
    result = train_toy(task, settings(ema_decay=None), tmp_path / "without")
    assert result.model is task.networks["model"]


def test_one_process_has_nothing_to_divide(tmp_path: Path) -> None:
    task = Game()
    result = train_toy(task, settings(parallel="fsdp", ema_decay=None), tmp_path / "fsdp")
    assert result.model is task.networks["model"]
    train_toy(Game(), settings(ema_decay=None), tmp_path / "ddp")
    assert_same_run(tmp_path / "fsdp", tmp_path / "ddp")


class Fingerprinted(nn.Linear):
    """Like a model from a folder: training voids what names its weights."""

    fingerprint: str | None = "old"

    def train(self, mode: bool = True) -> "Fingerprinted":
        if mode:
            self.fingerprint = None
        return super().train(mode)


def test_the_average_does_not_inherit_the_name_of_the_old_weights(tmp_path: Path) -> None:
    task = Slope()
    model = Fingerprinted(2, 1).double().eval()
    model.fingerprint = "old"
    model.slope = task.networks["model"].slope
    task.networks = {"model": model}
    result = train_toy(task, settings(validate_every=0), tmp_path)
    assert result.model is not model
    assert result.model.fingerprint is None


def test_bfloat16_computes_in_it_and_keeps_float32(tmp_path: Path) -> None:
    seen = []

    class Watched(Regression):
        def losses(self, batch: ToyBatch, share: Share, call: Mapping[str, nn.Module]):
            for found in super().losses(batch, share, call):
                model = call["model"]
                seen.append(model(batch.x, torch.zeros(8, dtype=torch.bool)).dtype)
                seen.append(model.second(model.first(batch.x)).dtype)
                yield found

    train_toy(Watched(), settings(precision="bfloat16"), tmp_path / "half")
    assert torch.bfloat16 in seen
    train_toy(Regression(), settings(), tmp_path / "full")
    half, full = saved(tmp_path / "half"), saved(tmp_path / "full")
    assert all(half[key].dtype == full[key].dtype for key in full)
    for key in weights(tmp_path / "full"):
        torch.testing.assert_close(half[key], full[key], rtol=0, atol=0.05, msg=key)
    assert not torch.equal(half["network/model/first.weight"], full["network/model/first.weight"])


# Dynamo looks at `.grad` of the toy's output where its graph breaks.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_networks_are_saved_under_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = []

    class Watched(Game):
        def losses(self, batch: ToyBatch, share: Share, call: Mapping[str, nn.Module]):
            compiled.extend(module._compiled_call_impl is not None for module in call.values())
            yield from super().losses(batch, share, call)

    train_toy(Watched(), settings(compile=True), tmp_path / "compiled")
    assert set(compiled) == {True}
    train_toy(Game(), settings(), tmp_path / "plain")
    left, right = saved(tmp_path / "compiled"), saved(tmp_path / "plain")
    assert left.keys() == right.keys()
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=1e-5, msg=key)
