"""LocalEngine: plain torch on one rank; the engine of tests, debuggers and closed-form checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.adamw import build_adamw
from rlhf.engine.shell import kept_buffers
from rlhf.engine.world import World
from rlhf.errors import TrainingError


class LocalEngine:
    """Keeps a whole module in the dtype it came in, and an optimizer if it is to learn."""

    def __init__(
        self, module: nn.Module, optimizer: OptimizerConfig | None = None, *, bf16: bool = False
    ) -> None:
        """Take over the module; bf16 runs forward passes in bfloat16 over the fp32 weights."""
        self.module, self.world, self._bf16 = module, World(), bf16
        trainable = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self._parameters = dict(trainable)
        self._optimizer = build_adamw(self._parameters.values(), optimizer) if optimizer else None
        self._max_norm = optimizer.max_grad_norm if optimizer else 0.0

    def __call__(self, *inputs: Any) -> Any:
        """Run the module."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            return self.module(*inputs)

    @contextmanager
    def gathered(self) -> Iterator[nn.Module]:
        """Yield the module; it is always whole."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            yield self.module

    def weights(self) -> dict[str, Tensor]:
        """Return copies of all weights and persistent buffers."""
        held = {**dict(self.module.named_parameters()), **kept_buffers(self.module)}
        return {name: tensor.detach().clone() for name, tensor in held.items()}

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the loss."""
        loss.backward()

    def step(self, lr: float) -> float:
        """Clip, update, clear; return the norm before clipping."""
        assert self._optimizer is not None
        norm = float(nn.utils.clip_grad_norm_(self._parameters.values(), self._max_norm))
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise TrainingError(f"gradient norm is {norm}; the weights were left as they were")
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return copies of trainable weights and moments, and the step count."""
        assert self._optimizer is not None
        state: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            state[f"weight/{name}"] = parameter.detach().clone()
            for key, value in self._optimizer.state[parameter].items():
                state[f"{key}/{name}"] = value.detach().clone()
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set weights and moments from `state()`."""
        assert self._optimizer is not None
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[f"weight/{name}"])
                device, held = parameter.device, [k for k in MOMENTS if f"{k}/{name}" in state]
                moments = {k: state[f"{k}/{name}"].to(device, copy=True) for k in held}
                if moments:
                    self._optimizer.state[parameter] = moments


MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state a parameter."""
