"""AdamW and its learning-rate curve."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlhf.config.section import Section


class OptimizerConfig(Section):
    """AdamW (Loshchilov & Hutter 2019) with warm-up; defaults as Ouyang et al. 2022, appendix C."""

    lr: float = Field(default=1e-5, gt=0, le=1e3)
    """Peak learning rate; where none is given, ten times the default with peft.method=lora."""
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=[0.9, 0.95], min_length=2, max_length=2
    )
    """Decay of the first and of the second moment, each at least 0 and below 1."""
    eps: float = Field(default=1e-5, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    warmup_steps: int = Field(default=10, ge=0)
    """Steps of the stage (in PPO: turns of its loop, each of several updates) over which the rate
    rises linearly, from its share of the first update on."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The curve after warm-up; linear and cosine reach 0 just after the last step."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Global gradient norm, over all ranks and shards, above which gradients are scaled down."""
