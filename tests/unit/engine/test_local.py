"""LocalEngine: what is its own; everything engines share is in tests/contract/test_engines.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.errors import TrainingError

SETTINGS = OptimizerConfig(lr=0.1, max_grad_norm=1.0)


def engine(**changes):
    torch.manual_seed(0)
    return LocalEngine(nn.Linear(3, 1), SETTINGS, **changes)


def test_the_norm_returned_is_the_one_before_clipping():
    # correctness 61
    machine = engine()
    machine.backward(machine(torch.tensor([[30.0, 0.0, 40.0]])).sum())
    assert machine.step(0.1) == pytest.approx((30**2 + 40**2 + 1) ** 0.5)


def test_frozen_weights_stay_and_have_no_state():
    layer = nn.Linear(3, 1)
    layer.bias.requires_grad_(False)
    machine, bias = LocalEngine(layer, SETTINGS), layer.bias.detach().clone()
    machine.backward(machine(torch.ones(1, 3)).sum())
    machine.step(0.1)
    assert torch.equal(layer.bias, bias)
    assert {name.partition("/")[2] for name in machine.state()} == {"weight"}


def test_bf16_runs_forwards_in_bfloat16_over_fp32_weights():
    machine = engine(bf16=True)
    assert machine(torch.ones(1, 3)).dtype == torch.bfloat16
    with machine.gathered() as model:
        assert model(torch.ones(1, 3)).dtype == torch.bfloat16
    assert {w.dtype for w in machine.weights().values()} == {torch.float32}


def test_weights_are_copies():
    machine = engine()
    machine.weights()["weight"].fill_(7.0)
    assert not (machine.module.weight == 7.0).any()


def test_a_norm_that_is_not_finite_leaves_weights_and_gradients_clean():
    machine = engine()
    before = machine.weights()
    machine.backward(machine(torch.ones(1, 3)).sum() * torch.nan)
    with pytest.raises(TrainingError, match="nan"):
        machine.step(0.1)
    assert all(torch.equal(w, before[name]) for name, w in machine.weights().items())
    machine.backward(machine(torch.ones(1, 3)).sum())
    assert machine.step(0.1) == pytest.approx(2.0)


def test_an_update_is_taken_at_its_own_rate():
    # correctness 57: the rate given to a step is that step's, not the next one's.
    machine = engine()
    before = machine.weights()
    machine.backward(machine(torch.ones(1, 3)).sum())
    machine.step(0.0)
    for name, weight in machine.weights().items():
        assert torch.equal(weight, before[name])
    machine.backward(machine(torch.ones(1, 3)).sum())
    machine.step(0.1)
    assert not torch.equal(machine.weights()["bias"], before["bias"])
