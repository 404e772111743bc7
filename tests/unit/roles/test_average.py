"""WeightAverage: closed form, constants untouched, a resume that loses nothing."""

from __future__ import annotations

import torch
from torch import nn

from rlhf.engine.local import LocalEngine
from rlhf.roles.average import WeightAverage


def engine(value: float = 1.0) -> LocalEngine:
    module = nn.Linear(2, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return LocalEngine(module)


def set_to(machine: LocalEngine, value: float) -> None:
    nn.init.constant_(machine.module.weight, value)


def test_after_n_steps_it_is_the_closed_form():
    # correctness 60
    machine = engine(1.0)
    average = WeightAverage(machine, 0.9)
    for value in (2.0, 3.0):
        set_to(machine, value)
        average.observe()
    wanted = 0.9**2 * 1 + 0.1 * 0.9 * 2 + 0.1 * 3
    torch.testing.assert_close(average.weights()["weight"], torch.full((1, 2), wanted))


def test_weights_that_do_not_move_keep_every_bit():
    machine = engine(0.1)
    average = WeightAverage(machine, 0.992)
    for _ in range(50):
        average.observe()
    assert torch.equal(average.weights()["weight"], machine.weights()["weight"])


def test_a_resume_goes_on_where_it_was(tmp_path):
    machine = engine(1.0)
    average = WeightAverage(machine, 0.5)
    set_to(machine, 2.0)
    average.observe()
    average.save_state(tmp_path)
    again = WeightAverage(machine, 0.5)
    again.load_state(tmp_path)
    assert torch.equal(again.weights()["weight"], average.weights()["weight"])


def test_in_bf16_it_moves_by_less_than_bf16_can_tell():
    machine = engine(1.0)
    machine.module.to(torch.bfloat16)
    average = WeightAverage(machine, 0.999)
    set_to(machine, 2.0)
    for _ in range(1000):
        average.observe()
    wanted = 2.0 - 0.999**1000
    got = average.weights()["weight"]
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), torch.full((1, 2), wanted), rtol=4e-3, atol=0)


def test_buffers_count_as_they_are():
    machine = engine(1.0)
    machine.module.register_buffer("bias_of_now", torch.tensor([3]))
    average = WeightAverage(machine, 0.5)
    machine.module.bias_of_now.fill_(8)
    average.observe()
    assert average.weights()["bias_of_now"].tolist() == [8]
