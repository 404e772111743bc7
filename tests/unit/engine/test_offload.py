"""Offloading: what is found, freed and restored; tests/contract offloads whole engines."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from rlhf.engine.offload import CHUNK_BYTES, Offloader, held_storages


class Holder:
    """Holds tensors in all the ways a library may."""

    def __init__(self):
        flat = torch.arange(12.0)
        closed = torch.full((3,), 3.0)
        self.parameter = nn.Parameter(flat[:4].view(2, 2))
        self.parameter.grad = torch.full((2, 2), 7.0)
        self.parameter.shard = torch.full((5,), 5.0)
        self.moments = {self.parameter: {"exp_avg": torch.ones(2, 2)}}
        self.nested = [({"deep": (flat[4:],)},), partial(print, torch.full((2,), 2.0))]
        self.read = lambda: closed
        self.itself = self

    def values(self):
        return [
            self.parameter.detach(),
            self.parameter.grad,
            self.parameter.shard,
            self.moments[self.parameter]["exp_avg"],
            self.nested[0][0]["deep"][0],
            self.nested[1].args[0],
            self.read(),
        ]


HELD = 4 * (12 + 4 + 5 + 4 + 2 + 3)


def sizes(holder):
    return sum(storage.nbytes() for storage in held_storages(holder, "cpu"))


def test_every_tensor_is_found_freed_once_and_given_back_to_all_its_views():
    holder = Holder()
    before = [value.clone() for value in holder.values()]
    assert sizes(holder) == HELD
    kept = Offloader(holder, "cpu")
    assert (kept.is_away, kept.onload()) == (False, 0)
    assert kept.offload() == HELD
    assert (kept.is_away, kept.offload(), sizes(holder)) == (True, 0, 0)
    assert kept.onload() == HELD
    assert (kept.is_away, kept.onload()) == (False, 0)
    assert all(map(torch.equal, holder.values(), before))
    holder.nested[0][0]["deep"][0].add_(1)
    kept.offload()
    kept.onload()
    assert torch.equal(holder.values()[4], before[4] + 1)
    assert torch.equal(holder.values()[0], before[0])


def test_a_large_storage_travels_in_chunks_that_join_exactly():
    count = CHUNK_BYTES // 4 + 3
    holder = torch.arange(count, dtype=torch.int32)
    kept = Offloader(holder, "cpu")
    assert kept.offload() == 4 * count
    kept.onload()
    assert torch.equal(holder, torch.arange(count, dtype=torch.int32))


def test_what_is_elsewhere_or_not_ours_to_free_stays():
    borrowed = torch.frombuffer(bytearray(b"01234567"), dtype=torch.uint8)
    holder = [torch.zeros(3, device="meta"), borrowed, torch.eye(2).to_sparse(), torch.zeros(0)]
    assert held_storages(holder[:2] + holder[3:], "cpu") == []
    assert held_storages(holder, "cuda") == []
    assert borrowed.tolist() == list(b"01234567")


def test_globals_are_not_reached_through_functions_or_classes():
    assert held_storages([uses_a_global, UsesAGlobal, UsesAGlobal().read], "cpu") == []


FAR_AWAY = torch.ones(4)


def uses_a_global():
    return FAR_AWAY


class UsesAGlobal:
    kept = FAR_AWAY

    def read(self):
        return FAR_AWAY


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_free_after_parking_and_filled_after_waking():
    model = nn.Linear(4096, 4096, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4096, device="cuda")).sum().backward()
    optimizer.step()
    torch.cuda.synchronize()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    wanted = model.weight.detach().double().sum().item()
    kept = Offloader([model, optimizer], "cuda")
    moved = kept.offload()
    assert moved >= 4 * 4 * 4096 * 4096
    assert torch.cuda.memory_allocated() <= before - moved
    assert torch.cuda.memory_reserved() <= reserved - moved
    assert kept.onload() == moved
    assert torch.cuda.memory_allocated() >= before - 2**20
    assert model.weight.detach().double().sum().item() == wanted
