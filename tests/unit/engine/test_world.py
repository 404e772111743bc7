"""World: a single process is a whole world; many ranks are tested in tests/contract."""

from __future__ import annotations

import torch

from rlhf.engine.world import World, pick_device


def test_alone_everything_is_already_summed():
    world = World()
    total = world.total(torch.tensor([1.5, 2.0], requires_grad=True))
    assert (world.rank, world.size) == (0, 1)
    assert total.tolist() == [1.5, 2.0]
    assert total.dtype == torch.float64
    assert not total.requires_grad
    assert world.largest(3) == 3.0


def test_a_process_that_was_given_no_gpu_uses_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pick_device() == "cpu"
