"""Which network each role starts from, and which of its weights learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.config.optimizer import OptimizerConfig
from rlhf.config.section import Place, Section


class NewModelConfig(Section):
    """A small Llama made on the spot, with a byte-level BPE tokenizer trained on the SFT texts."""

    hidden_size: int = Field(default=128, gt=0, le=2**17)
    """Width of the residual stream."""
    num_layers: int = Field(default=3, gt=0, le=1000)
    """Transformer blocks."""
    num_heads: int = Field(default=4, gt=0, le=2**12)
    """Attention heads; must divide hidden_size."""
    vocab_size: int = Field(default=4096, gt=260, le=2**22)
    """Most tokens the tokenizer may have (256 bytes and 3 special tokens included)."""
    context: int = Field(default=128, gt=8, le=2**24)
    """Longest sequence, in tokens."""


class PolicyConfig(Section):
    """The language model that learns."""

    path: Place | None = None
    """Local folder, hub name, FOLDER/FILE.gguf, or packaged:NAME; the start of SFT, or of PPO."""
    new: NewModelConfig | None = None
    """A fresh small model in place of `path`."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-6)
    """Used by PPO; SFT has its own."""


class ReferenceConfig(Section):
    """The frozen language model the policy is held near."""

    path: Place | None = None
    """Folder or name; the policy's own start when not given."""


class ValueConfig(Section):
    """The model that predicts returns."""

    path: Place | None = None
    """Folder or name of a one-label sequence classifier; when not given: the reward model, or,
    without one, the policy's trunk with a zero head."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-5)
    """Used by PPO."""


class PeftConfig(Section):
    """Which weights learn; methods and words of the peft library."""

    method: Literal["none", "lora"] = "none"
    """none: all weights. lora: low-rank adapters (Hu et al. 2021), base frozen and shared."""
    rank: int = Field(default=16, gt=0)
    """Rank r of each adapter."""
    alpha: int = Field(default=32, gt=0)
    """Adapters are scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Adapter dropout; 0 keeps the first PPO ratio at exactly 1."""
    target_modules: str = "all-linear"
    """Module names to adapt, comma-separated, or all-linear."""

    @property
    def targets(self) -> str | list[str]:
        """The module names, as the peft library takes them."""
        names = [name.strip() for name in self.target_modules.split(",")]
        return "all-linear" if names == ["all-linear"] else [name for name in names if name]
