"""Learner: one update a minibatch, the same however its rows are cut."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.engine.world import World
from rlhf.errors import TrainingError
from rlhf.flow.tensors import TensorBatch
from rlhf.roles.learner import PADDING_SHARE, Learner, LossSum, Objective

LENGTHS = torch.tensor([5, 2, 7, 3, 3, 6, 1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers(TensorBatch):
    x_BH: Tensor


class Line(nn.Linear):
    """Reads no rows behind one another, so a microbatch is as wide as its longest."""

    packs = False


def batch():
    return Numbers(x_BH=torch.randn(7, 3, generator=torch.Generator().manual_seed(0)))


def learner(max_tokens=100_000, **changes):
    torch.manual_seed(1)
    config = OptimizerConfig(**{"lr": 1e-2, "eps": 1e-3, "warmup_steps": 0, **changes})
    engine = LocalEngine(Line(3, 1), config)
    return Learner(engine, config, max_tokens=max_tokens, total_updates=10)


def objective(loss_of, **changes):
    made = {"batch": batch(), "lengths_B": LENGTHS, "count": 7.0, "loss_of": loss_of, **changes}
    return Objective(**made)


def squares(machine):
    seen = []

    def loss_of(rows):
        seen.append(len(rows))
        error_B = machine.engine(rows.x_BH).squeeze(-1).square()
        sums = {"error": error_B.sum().detach()}
        return LossSum(error_B.sum(), sums, {"worst": error_B.max().detach()})

    return loss_of, seen


@pytest.mark.parametrize("max_tokens", (1, 7, 12))
def test_microbatches_change_no_update(max_tokens):
    # correctness 55: loss, norm, statistics and weights.
    whole, cut = learner(), learner(max_tokens)
    whole_loss, whole_seen = squares(whole)
    cut_loss, cut_seen = squares(cut)
    for _ in range(3):
        one = whole.update(objective(whole_loss))
        other = cut.update(objective(cut_loss))
        assert other.loss == pytest.approx(one.loss, rel=1e-6)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-6)
        assert other.means["error"] == pytest.approx(one.means["error"], rel=1e-6)
        assert other.peaks == pytest.approx(one.peaks, rel=1e-6)
    for name, weight in whole.engine.weights().items():
        torch.testing.assert_close(cut.engine.weights()[name], weight, rtol=1e-6, atol=1e-7)
    assert whole_seen == [7] * 3
    assert len(cut_seen) > 6
    assert sum(cut_seen) == 21


def test_the_loss_is_divided_by_the_count():
    # correctness 6, 47: by the count of the whole optimizer step.
    machine = learner()
    loss_of, _ = squares(machine)
    with torch.no_grad():
        mean = machine.engine(batch().x_BH).square().mean()
    update = machine.update(objective(loss_of))
    assert update.loss == pytest.approx(float(mean))
    assert update.means["error"] == pytest.approx(float(mean))


def test_the_padding_share_is_of_all_tokens_computed():
    machine = learner(max_tokens=7)
    loss_of, _ = squares(machine)
    # 27 tokens in microbatches of (7), (6), (5), (3, 3), (2, 1): 28 are computed.
    assert machine.update(objective(loss_of)).means[PADDING_SHARE] == pytest.approx(1 / 28)
    machine.engine.module.packs = True
    assert machine.update(objective(loss_of)).means[PADDING_SHARE] <= 1 / 28
    whole = learner()
    update = whole.update(objective(squares(whole)[0]))
    assert update.means[PADDING_SHARE] == pytest.approx(1 - 27 / 49)


def test_the_rate_follows_its_curve():
    # correctness 57: policy and value each have a learner, so both are annealed.
    machine = learner(warmup_steps=2, schedule="linear")
    loss_of, _ = squares(machine)
    rates = [machine.update(objective(loss_of)).lr for _ in range(4)]
    assert rates == pytest.approx([5e-3, 1e-2, 1e-2, 1e-2 * 7 / 8])


def test_a_loss_that_is_not_a_number_leaves_the_weights():
    machine = learner()
    before = machine.engine.weights()
    with pytest.raises(TrainingError, match="the loss is nan at update 0"):
        machine.update(objective(lambda rows: LossSum(machine.engine(rows.x_BH).sum() * torch.nan)))
    assert all(torch.equal(w, before[name]) for name, w in machine.engine.weights().items())
    assert machine.num_updates == 0


def test_a_restored_learner_goes_on_bit_for_bit(tmp_path):
    # correctness 66: weights, moments and the place on the rate's curve.
    straight, resumed = learner(schedule="cosine"), learner(schedule="cosine")
    loss_of, _ = squares(straight)
    straight.update(objective(loss_of))
    straight.save_state(tmp_path)
    wanted = straight.update(objective(loss_of))
    resumed.load_state(tmp_path)
    assert resumed.num_updates == 1
    assert resumed.update(objective(squares(resumed)[0])) == wanted
    for name, weight in straight.engine.weights().items():
        assert torch.equal(resumed.engine.weights()[name], weight)


@pytest.mark.parametrize("max_tokens", (7, 100_000))
def test_a_second_objective_adds_its_gradient_by_its_coefficient(max_tokens):
    # correctness 59: one step on a sum of losses, each divided by its own count.
    machine = learner(max_tokens, max_grad_norm=1e9)
    few = Numbers(x_BH=batch().x_BH[:2] * 3)

    def loss_of(rows):
        return LossSum(machine.engine(rows.x_BH).square().sum())

    first = machine.engine(batch().x_BH).square().mean()
    second = machine.engine(few.x_BH).square().mean()
    wanted = torch.autograd.grad(first + 0.3 * second, list(machine.engine.module.parameters()))
    norm = torch.cat([g.flatten() for g in wanted]).norm()
    beside = objective(loss_of, batch=few, lengths_B=LENGTHS[:2], count=2.0, coef=0.3)
    update = machine.update(objective(loss_of), beside)
    assert update.grad_norm == pytest.approx(float(norm), rel=1e-6)
    assert [report.loss for report in update.reports] == pytest.approx(
        [first.item(), second.item()], rel=1e-6
    )


@dataclass(frozen=True, slots=True)
class SecondOfTwo(World):
    """The second rank, alone in its process: the first has one microbatch and adds nothing."""

    def total(self, values: Tensor) -> Tensor:
        return values.double()

    def largest(self, value: float) -> float:
        return max(value, 1.0)


def test_a_rank_without_rows_keeps_step_and_adds_nothing():
    # correctness 55: the row it runs in place of its own leaves gradient and sums at 0.
    machine = learner(weight_decay=0.0)
    machine.engine.world = SecondOfTwo(rank=1, size=2)
    before = machine.engine.weights()
    loss_of, seen = squares(machine)
    one = batch().select([0])
    update = machine.update(objective(loss_of, batch=one, lengths_B=LENGTHS[:1], count=1.0))
    assert seen == [1]
    assert (update.loss, update.grad_norm) == (0.0, 0.0)
    assert update.means["error"] == 0.0
    for name, weight in machine.engine.weights().items():
        assert torch.equal(weight, before[name])
