"""ZeroState: the weights and moments inside a DeepSpeed engine, read and written as whole tensors.

Through DeepSpeed's public accessors: no pickle, and no dependence on world size or ZeRO stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rlhf.engine.accelerator import import_deepspeed
from rlhf.engine.local import MOMENTS
from rlhf.engine.world import World

KEYS = ("weight", *MOMENTS[1:])
"""What is kept of a parameter, besides the number of updates."""


class ZeroState:
    """Reads and sets one engine's parameters and optimizer moments."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.AdamW | None,
        world: World,
        *,
        stage: int,
        exact: Mapping[str, Tensor],
    ) -> None:
        """Collect parameters by name; those that need gradients have moments.

        DeepSpeed has cast all of them to one dtype; `exact` has those that were in full precision.
        They are restored: in the fp32 master, or (frozen, and whole) in the module itself.
        """
        self._parameters, self._optimizer = parameters, optimizer
        self._world, self._stage = world, stage
        for name, tensor in exact.items():
            self._restore(parameters[name], tensor.to(world.device))
        self._exact = {n: None if parameters[n].requires_grad else t for n, t in exact.items()}
        self._names = [name for name, p in parameters.items() if p.requires_grad]

    def _restore(self, parameter: nn.Parameter, tensor: Tensor) -> None:
        if parameter.requires_grad:
            from deepspeed.utils import safe_set_full_fp32_param

            safe_set_full_fp32_param(parameter, tensor)
        elif self._stage != 3:
            parameter.data = tensor

    def whole(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight, whole, one at a time; every rank must go through all of them."""
        deepspeed = import_deepspeed(self._world.device)
        for name, parameter in self._parameters.items():
            if self._stage == 3:
                with deepspeed.zero.GatheredParameters([parameter]):
                    yield name, parameter.data
            else:
                yield name, parameter.data

    def kept(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what `whole` does; in full precision what came in it; every rank must call."""
        for name, tensor in self.whole():
            if name not in self._exact:
                yield name, tensor
            else:
                exact = self._exact[name]
                yield name, self._read(name, "weight") if exact is None else exact

    def read(self) -> dict[str, Tensor]:
        """Return trainable weights and moments, fp32, on rank 0; every rank must call."""
        state: dict[str, Tensor] = {}
        for name in self._names:
            for key in KEYS:
                whole = self._read(name, key)
                if self._world.rank == 0:
                    state[f"{key}/{name}"] = whole.detach().cpu().clone()
            if self._world.rank == 0:
                state[f"step/{name}"] = torch.tensor(self._num_updates())
        return state

    def write(self, state: Mapping[str, Tensor]) -> None:
        """Set weights and moments, which must have been allocated; every rank must call."""
        for name in self._names:
            for key in KEYS:
                self._write(name, key, state[f"{key}/{name}"])
        self.count(float(state[f"step/{self._names[0]}"]))

    def count(self, num_updates: float) -> None:
        """Set the number of updates that the moments have seen."""
        for moments in self._adamw.state.values():
            device = moments["exp_avg"].device
            moments["step"] = torch.tensor(num_updates, device=device)

    @property
    def _adamw(self) -> torch.optim.AdamW:
        assert self._optimizer is not None
        return self._optimizer

    def _num_updates(self) -> float:
        states = list(self._adamw.state.values())
        return float(states[0]["step"]) if states and "step" in states[0] else 0.0

    def _read(self, name: str, key: str) -> Tensor:
        parameter = self._parameters[name]
        if self._stage == 0:
            return parameter.data if key == "weight" else self._adamw.state[parameter][key]
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if key == "weight":
            return cast("Tensor", safe_get_full_fp32_param(parameter))
        return cast("Tensor", safe_get_full_optimizer_state(parameter, key))

    def _write(self, name: str, key: str, value: Tensor) -> None:
        parameter = self._parameters[name]
        value = value.to(self._world.device, torch.float32)
        if key == "weight":
            self._write_module(parameter, value)
        if self._stage == 0:
            if key != "weight":
                self._adamw.state[parameter][key].copy_(value)
            return
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        if key == "weight":
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, key)

    def _write_module(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Copy the fp32 master into the module: DeepSpeed's setters change the master only."""
        deepspeed = import_deepspeed(self._world.device)
        with torch.no_grad():
            if self._stage != 3:
                parameter.copy_(value)
                return
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                if self._world.rank == 0:
                    parameter.copy_(value)
