"""How weights are sharded, stored and computed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rlhf.config.section import Section


class EngineConfig(Section):
    """DeepSpeed ZeRO (Rajbhandari et al. 2020), or plain torch for tests and debugging."""

    backend: Literal["deepspeed", "torch"] = "deepspeed"
    """deepspeed: ZeRO 0-3 on any number of ranks. torch: whole weights on one rank."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """What is sharded over ranks: 1 optimizer states, 2 gradients too, 3 weights too."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of weights and products; bf16 keeps fp32 master weights. auto: bf16 for a model of 5 million
    weights or more where the device multiplies it, and where the policy's log-probabilities on
    some texts of the run stay near those in fp32; else fp32. A run says what it chose and why."""
    max_tokens_per_microbatch: int = Field(default=8192, gt=0)
    """Tokens of one forward pass, padding included; bounds memory, changes no result."""
    gradient_checkpointing: bool = False
    """Keep only each block's input of a forward pass and compute the rest again in the backward
    pass (Chen et al. 2016): less memory, about a third more time."""
    deepspeed: dict[str, Any] = Field(default={})
    """Raw DeepSpeed settings for experts, laid over what the project gives DeepSpeed."""
    threads: int = Field(default=1, gt=0, le=1024)
    """Torch threads a rank."""
