"""Activations: what forward and backward passes keep besides weights; in bytes, by formulas.

Per token and block, of numbers of b bytes (docs/planning.md derives each term): norms, queries,
keys, values, attention's output, and the tensors of the MLP that its backward pass needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.algo.packing import WIDEST
from rlhf.models.model_shape import ModelShape

FP32 = 4
WORKING_MLP_TENSORS = 3
"""Tensors as wide as the MLP that exist at one time in a pass without gradients, and as their
gradients in a backward pass."""


@dataclass(frozen=True, slots=True)
class Learns:
    """Which weights of a network have gradients."""

    base: bool
    """All weights."""
    adapter_rank: int = 0
    """Rank of adapters over a frozen base; 0 for none."""

    @property
    def any(self) -> bool:
        """Whether any weight has gradients."""
        return self.base or self.adapter_rank > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One microbatch: its size and how it is computed."""

    number_bytes: int
    """2 in bf16, 4 in fp32."""
    tokens: int
    """All that are computed."""
    longest: int
    """Tokens of the longest row."""
    positions: int
    """Tokens whose logits (or values) are wanted."""
    packed: bool
    """Whether rows share bins, which takes a mask."""
    learns: Learns
    on_gpu: bool = False
    """Whether logits are gone over all at once."""
    checkpointing: bool = False
    """Whether only block inputs are kept."""


def block_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes a token that one block keeps for its backward pass."""
    return (
        _norm_bytes(model_shape, run)
        + _attention_bytes(model_shape, run)
        + model_shape.mlp_tensors * model_shape.mlp_width * run.number_bytes
        + _adapter_bytes(model_shape, run)
    )


def kept_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes that all blocks keep for the backward pass of one microbatch.

    With checkpointing: each block's input, and the inside of one block at a time.
    """
    block = block_bytes(model_shape, run)
    if run.checkpointing:
        inputs = model_shape.num_layers * model_shape.hidden * run.number_bytes
        return run.tokens * (inputs + block)
    return run.tokens * model_shape.num_layers * block


def working_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes of all tensors of a block while it runs, kept or not, one microbatch."""
    streams = 2 * model_shape.hidden
    return run.tokens * run.number_bytes * (WORKING_MLP_TENSORS * model_shape.mlp_width + streams)


def _norm_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes a token that a block's norms keep, with the two inputs of linear layers.

    Llama's norm computes in fp32: its input there, its root mean square, and (to learn its own
    weight) what it multiplies that weight with. Gemma's multiplies in fp32.
    """
    size, width = run.number_bytes, model_shape.hidden
    made = 2 * width * size
    if model_shape.norm == "layer":
        return model_shape.norms * (width + 2) * size + made
    scaled = FP32 if model_shape.norm == "zero_rms" else size
    own = scaled * width if run.learns.base else 0
    return model_shape.norms * (FP32 * width + FP32 + own) + made


def _attention_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes a token of queries, keys, values, output; and of softmax sums or scores."""
    size, wide, keys = run.number_bytes, model_shape.attention_width, model_shape.key_width
    if model_shape.stores_scores:
        rounded = 0 if size == FP32 else size
        scores = model_shape.heads * run.longest * (size + FP32 + rounded)
        return 4 * wide * size + scores
    repeated = wide if run.packed else keys
    mask = bin_width(run) * size if run.packed else 0
    return (2 * wide + 2 * repeated) * size + FP32 * model_shape.heads + mask


def bin_width(run: Pass) -> int:
    """Return the most columns of a bin that rows share."""
    return min(WIDEST * run.longest, run.tokens)


def _adapter_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes a token of the tensors between the two matrices of each adapter."""
    layers = len(model_shape.linears) / model_shape.num_layers
    return run.learns.adapter_rank * layers * run.number_bytes
