"""ZeroEngine: DeepSpeed ZeRO 0 to 3 on any number of ranks; the only door to deepspeed.

DeepSpeed averages gradients over ranks; `backward` undoes that, so that sums are what is applied.
State is read and written through DeepSpeed's public accessors as whole tensors: no pickle, and
no dependence on world size or stage.
"""

from __future__ import annotations

import copy
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, nn

from rlhf.config.engine import EngineConfig
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.adamw import build_adamw
from rlhf.engine.local import MOMENTS
from rlhf.engine.world import World
from rlhf.engine.zero_config import zero_config
from rlhf.errors import TrainingError


def start_world(device: str, timeout_s: float) -> World:
    """Join the process group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe."""
    deepspeed = _deepspeed(device)
    deepspeed.init_distributed(
        "nccl" if device == "cuda" else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=timeout_s),
    )
    return World(rank=int(os.environ["RANK"]), size=int(os.environ["WORLD_SIZE"]), device=device)


class ZeroEngine:
    """One rank's part of a model held by DeepSpeed."""

    def __init__(
        self,
        module: nn.Module,
        world: World,
        config: EngineConfig,
        *,
        stage: int,
        optimizer: OptimizerConfig | None = None,
    ) -> None:
        """Hand the module to DeepSpeed; without an optimizer it is frozen (sharded at stage 3)."""
        deepspeed = _deepspeed(world.device)
        self.module, self.world = module, world
        self.stage = effective_stage(stage, config, trainable=optimizer is not None)
        self._shell = _empty_copy(module) if self.stage == 3 else None
        self._max_norm, self._norm = (optimizer.max_grad_norm if optimizer else 0.0), 0.0
        trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
        adamw = build_adamw(trainable.values(), optimizer) if optimizer else None
        if adamw is not None and self.stage == 0:
            adamw.register_step_pre_hook(self._clip)
        clip = self._max_norm if self.stage else 0.0
        self._engine, *_ = deepspeed.initialize(
            model=module,
            optimizer=adamw,
            config=zero_config(config, stage=self.stage, world_size=world.size, max_grad_norm=clip),
        )
        self._adamw, self._names = adamw, list(trainable)
        self._parameters = dict(module.named_parameters())

    def __call__(self, *inputs: Any) -> Any:
        """Run the module on this rank's rows."""
        return self._engine(*inputs)

    @contextmanager
    def gathered(self) -> Iterator[nn.Module]:
        """Give whole weights; at stage 3 a copy, gathered once, dropped at the end."""
        if self._shell is None:
            yield self.module
            return
        for name, tensor in self._whole():
            _set_parameter(self._shell, name, tensor.clone())
        try:
            yield self._shell
        finally:
            for name in self._parameters:
                _set_parameter(self._shell, name, torch.empty(0, device="meta"))

    def weights(self) -> dict[str, Tensor]:
        """Return whole weights on rank 0."""
        copies = ((name, tensor.detach().cpu().clone()) for name, tensor in self._whole())
        return {name: tensor for name, tensor in copies if self.world.rank == 0}

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's share of the loss."""
        self._engine.backward(loss * self.world.size)

    def step(self, lr: float) -> float:
        """Sum over ranks, clip, update, clear; return the norm before clipping."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()
        norm = float(self._engine.get_global_grad_norm()) if self.stage else self._norm
        if not math.isfinite(norm) or norm < 0:
            raise TrainingError(f"gradient norm is {norm} on rank {self.world.rank}")
        return norm

    def _clip(self, *_: object) -> None:
        """Clip at stage 0, where every rank holds the reduced gradients before the update."""
        parameters = [self._parameters[name] for name in self._names]
        self._norm = float(nn.utils.clip_grad_norm_(parameters, self._max_norm))
        if not math.isfinite(self._norm):
            raise TrainingError(
                f"gradient norm is {self._norm}; the weights were left as they were"
            )

    def state(self) -> dict[str, Tensor]:
        """Return trainable weights and moments, fp32, on rank 0."""
        state: dict[str, Tensor] = {}
        for name in self._names:
            for key in ("weight", *MOMENTS[1:]):
                whole = self._read(name, key)
                if self.world.rank == 0:
                    state[f"{key}/{name}"] = whole.detach().cpu().clone()
            if self.world.rank == 0:
                state[f"step/{name}"] = torch.tensor(self._num_updates())
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set weights and moments; a throw-away update first makes DeepSpeed allocate them."""
        self._allocate_moments()
        for name in self._names:
            for key in ("weight", *MOMENTS[1:]):
                self._write(name, key, state[f"{key}/{name}"])
        updates = float(state[f"step/{self._names[0]}"])
        for moments in self._base_optimizer().state.values():
            moments["step"] = torch.tensor(updates)

    def _whole(self) -> Iterator[tuple[str, Tensor]]:
        deepspeed = _deepspeed(self.world.device)
        for name, parameter in self._parameters.items():
            if self.stage == 3:
                with deepspeed.zero.GatheredParameters([parameter]):
                    yield name, parameter.data
            else:
                yield name, parameter.data

    def _read(self, name: str, key: str) -> Tensor:
        parameter = self._parameters[name]
        if self.stage == 0:
            return (
                parameter.data if key == "weight" else self._base_optimizer().state[parameter][key]
            )
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if key == "weight":
            return cast("Tensor", safe_get_full_fp32_param(parameter))
        return cast("Tensor", safe_get_full_optimizer_state(parameter, key))

    def _write(self, name: str, key: str, value: Tensor) -> None:
        parameter = self._parameters[name]
        value = value.to(self.world.device, torch.float32)
        if key == "weight":
            self._write_module(parameter, value)
        if self.stage == 0:
            if key != "weight":
                self._base_optimizer().state[parameter][key].copy_(value)
            return
        if not parameter.requires_grad:
            return
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        if key == "weight":
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, key)

    def _write_module(self, parameter: nn.Parameter, value: Tensor) -> None:
        """DeepSpeed's setters write the fp32 master only; the next forward reads the module."""
        deepspeed = _deepspeed(self.world.device)
        with torch.no_grad():
            if self.stage == 3:
                with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
                    if self.world.rank == 0:
                        parameter.copy_(value)
            else:
                parameter.copy_(value)

    def _base_optimizer(self) -> torch.optim.AdamW:
        assert self._adamw is not None
        return self._adamw

    def _num_updates(self) -> float:
        states = list(self._base_optimizer().state.values())
        return float(states[0]["step"]) if states and "step" in states[0] else 0.0

    def _allocate_moments(self) -> None:
        outputs = self._engine(*self.module.example_inputs())  # type: ignore[operator]
        output = outputs[0] if isinstance(outputs, tuple) else outputs
        self._engine.backward(output.sum() * 0.0)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = 0.0
        self._engine.step()


def effective_stage(stage: int, config: EngineConfig, *, trainable: bool) -> int:
    """Return the stage DeepSpeed is given.

    Frozen models have nothing to shard but weights. In bf16 DeepSpeed keeps fp32 master weights
    from stage 1 on, so stage 0 becomes 1 there.
    """
    if not trainable:
        return 3 if stage == 3 else 0
    return max(stage, 1) if config.precision == "bf16" else stage


def _empty_copy(module: nn.Module) -> nn.Module:
    """Copy structure and buffers, not weights."""
    shell = copy.deepcopy(module)
    for name, _ in module.named_parameters():
        _set_parameter(shell, name, torch.empty(0, device="meta"))
    return shell.eval()


def _set_parameter(module: nn.Module, name: str, tensor: Tensor) -> None:
    shared = module.get_parameter(name)
    fresh = nn.Parameter(tensor, requires_grad=False)
    for owner in module.modules():
        for key, parameter in owner.named_parameters(recurse=False):
            if parameter is shared:
                setattr(owner, key, fresh)


def _deepspeed(device: str) -> Any:
    """Import deepspeed for the device, quietly, without compiling its CPU communication op.

    That op would be built with the C++ compiler at first use (most of a minute); gloo serves.
    """
    os.environ["DS_ACCELERATOR"] = device
    import deepspeed

    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
