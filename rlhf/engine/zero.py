"""ZeroEngine: DeepSpeed ZeRO 0 to 3 on any number of ranks.

DeepSpeed averages gradients over ranks; `backward` undoes that, so that sums are what is applied.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import Store

from rlhf.config.cluster import RolePlacement
from rlhf.config.engine import EngineConfig
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.accelerator import import_deepspeed
from rlhf.engine.adamw import build_adamw
from rlhf.engine.memory import dtype_that_fits, free_bytes
from rlhf.engine.shell import empty_copy, exact_parameters, kept_buffers, set_parameter
from rlhf.engine.world import World
from rlhf.engine.zero_config import Holding, zero_config
from rlhf.engine.zero_raw import blaming
from rlhf.engine.zero_state import ZeroState
from rlhf.errors import TrainingError


def start_world(device: str, store: Store, timeout_s: float) -> World:
    """Join the process group of RANK and WORLD_SIZE, whose ranks meet at this store."""
    deepspeed = import_deepspeed(device)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # DeepSpeed takes the group that is there; of itself it would meet without a nonce.
    torch.distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
        device_id=torch.device(device, 0) if device == "cuda" and size > 1 else None,
    )
    deepspeed.init_distributed(
        "nccl" if device == "cuda" else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=timeout_s),
    )
    return World(rank=rank, size=size, device=device)


class ZeroEngine:
    """One rank's share of a model in a DeepSpeed engine."""

    _has_moments = False

    def __init__(
        self,
        module: nn.Module,
        world: World,
        config: EngineConfig,
        row: RolePlacement,
        optimizer: OptimizerConfig | None = None,
    ) -> None:
        """Hand the module to DeepSpeed; without an optimizer it is frozen (sharded at stage 3).

        The row has the role's own ZeRO stage and offload.

        Raises:
            ConfigError: when DeepSpeed refuses the raw settings of engine.deepspeed.
        """
        deepspeed = import_deepspeed(world.device)
        self.module, self.world = module, world
        asked = row.stage(config.zero_stage)
        self.stage = effective_stage(asked, config, trainable=optimizer is not None)
        self._shell = empty_copy(module) if self.stage == 3 else None
        self._max_norm, self._norm = (optimizer.max_grad_norm if optimizer else 0.0), 0.0
        trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
        adamw = build_adamw(trainable.values(), optimizer) if optimizer else None
        if adamw is not None and self.stage == 0:
            adamw.register_step_pre_hook(self._clip)
        holding = Holding(
            stage=self.stage,
            offload=row.offload,
            world_size=world.size,
            device=world.device,
            max_grad_norm=self._max_norm if self.stage else 0.0,
            num_weights=sum(p.numel() for p in trainable.values()),
        )
        exact = exact_parameters(module)
        with blaming(config.deepspeed):
            self._engine, *_ = deepspeed.initialize(
                model=module, optimizer=adamw, config=zero_config(config, holding)
            )
        self._parameters = dict(module.named_parameters())
        self._state = ZeroState(self._parameters, adamw, world, stage=self.stage, exact=exact)

    def __call__(self, *inputs: Any) -> Any:
        """Run the module on this rank's rows."""
        return self._engine(*inputs)

    @contextmanager
    def gathered(self) -> Iterator[nn.Module]:
        """Yield the module with whole weights; at stage 3 a copy, gathered once, then dropped.

        Raises:
            ModelError: when the copy does not fit into memory, not even in bf16.
        """
        if self._shell is None:
            yield self.module
            return
        dtype = self._copy_dtype()
        for name, tensor in self._state.whole():
            set_parameter(self._shell, name, tensor.to(dtype, copy=True))
        for name, buffer in self.module.named_buffers():
            self._shell.get_buffer(name).copy_(buffer)
        try:
            yield self._shell
        finally:
            for name in self._parameters:
                set_parameter(self._shell, name, torch.empty(0, device="meta"))

    def _copy_dtype(self) -> torch.dtype:
        """Return the dtype a copy of the whole weights fits in, alike on every rank."""
        parameters = self._parameters.values()
        num_weights = sum(p.ds_numel for p in parameters)  # type: ignore[attr-defined]
        free = -self.world.largest(-float(free_bytes(self.world.device)))
        return dtype_that_fits(num_weights, next(iter(parameters)).dtype, int(free))

    def weights(self) -> dict[str, Tensor]:
        """Return whole weights and persistent buffers on rank 0."""
        held = ((name, tensor.detach().cpu().clone()) for name, tensor in self._state.kept())
        weights = {name: tensor for name, tensor in held if self.world.rank == 0}
        buffers = kept_buffers(self.module) if self.world.rank == 0 else {}
        return weights | {name: buffer.detach().cpu().clone() for name, buffer in buffers.items()}

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's share of the loss."""
        self._engine.backward(loss * self.world.size)

    def step(self, lr: float) -> float:
        """Sum over ranks, clip, update, clear; return the norm before clipping."""
        self._set_rate(lr)
        self._engine.step()
        self._has_moments = True
        norm = float(self._engine.get_global_grad_norm()) if self.stage else self._norm
        if not math.isfinite(norm) or norm < 0:
            raise TrainingError(f"gradient norm is {norm} on rank {self.world.rank}")
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return trainable weights and moments, fp32, on rank 0; the moments start as zeros."""
        if not self._has_moments:
            self._allocate_moments()
            self._state.count(0.0)
        return self._state.read()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set weights and moments."""
        self._allocate_moments()
        self._state.write(state)

    def _allocate_moments(self) -> None:
        """Make an update of size 0, so that DeepSpeed allocates the moments."""
        outputs = self._engine(*self.module.example_inputs())  # type: ignore[operator]
        output = outputs[0] if isinstance(outputs, tuple) else outputs
        self._engine.backward(output.sum() * 0.0)
        self._set_rate(0.0)
        self._engine.step()
        self._has_moments = True

    def _set_rate(self, lr: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr

    def _clip(self, *_: object) -> None:
        """Clip at stage 0, where every rank holds the reduced gradients before the update."""
        trainable = [p for p in self._parameters.values() if p.requires_grad]
        self._norm = float(nn.utils.clip_grad_norm_(trainable, self._max_norm))
        if not math.isfinite(self._norm):
            raise TrainingError(
                f"gradient norm is {self._norm}; the weights were left as they were"
            )


def effective_stage(stage: int, config: EngineConfig, *, trainable: bool) -> int:
    """Return the ZeRO stage that DeepSpeed runs.

    Frozen models have nothing to shard but weights. In bf16 DeepSpeed keeps fp32 master weights
    from stage 1 on, so stage 0 becomes 1 there.
    """
    if not trainable:
        return 3 if stage == 3 else 0
    return max(stage, 1) if config.precision == "bf16" else stage
