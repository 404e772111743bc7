"""World: this rank, how many there are, and the few collectives that roles need."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """The ranks of one role; a single process has rank 0 of 1 and no process group."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def total(self, values: Tensor) -> Tensor:
        """Sum a tensor over all ranks, in float64, on CPU."""
        summed = values.detach().to(self.device, torch.float64)
        if self.size > 1:
            dist.all_reduce(summed)
        return summed.cpu()

    def largest(self, value: float) -> float:
        """Return the maximum of a number over all ranks."""
        tensor = torch.tensor(float(value), dtype=torch.float64, device=self.device)
        if self.size > 1:
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.item()


def num_ranks() -> int:
    """Return how many ranks this process's group has, wherever they are; 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def pick_device() -> str:
    """Return cuda when this process was given a GPU, else cpu."""
    return "cuda" if torch.cuda.is_available() and os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu"
