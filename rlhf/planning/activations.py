"""Activations: what forward and backward passes keep besides weights; in bytes, by formulas.

Per token and block, of numbers of b bytes (docs/planning.md derives each term): norms, queries,
keys, values and what attention gives, and the tensors of the MLP that its backward pass needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.algo.packing import WIDEST
from rlhf.models.anatomy import Anatomy

FP32 = 4
WORKING_MLP_TENSORS = 3
"""Tensors as wide as the MLP that exist at one time in a pass without gradients, and as their
gradients in a backward pass."""


@dataclass(frozen=True, slots=True)
class Learns:
    """What of a network has gradients."""

    base: bool
    """All weights."""
    adapter_rank: int = 0
    """Rank of adapters over a frozen base; 0 for none."""

    @property
    def any(self) -> bool:
        """Whether anything has."""
        return self.base or self.adapter_rank > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One microbatch."""

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


def block_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return what one block keeps a token for its backward pass, bytes."""
    return (
        _norm_bytes(anatomy, run)
        + _attention_bytes(anatomy, run)
        + anatomy.mlp_tensors * anatomy.mlp_width * run.number_bytes
        + _adapter_bytes(anatomy, run)
    )


def kept_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return what all blocks keep for the backward pass of one microbatch, bytes.

    With checkpointing: each block's input, and the inside of one block at a time.
    """
    block = block_bytes(anatomy, run)
    if run.checkpointing:
        inputs = anatomy.num_layers * anatomy.hidden * run.number_bytes
        return run.tokens * (inputs + block)
    return run.tokens * anatomy.num_layers * block


def working_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return the tensors of a block in the making, kept or not, one microbatch, bytes."""
    streams = 2 * anatomy.hidden
    return run.tokens * run.number_bytes * (WORKING_MLP_TENSORS * anatomy.mlp_width + streams)


def _norm_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return what a block's norms keep a token, and the two inputs of linear layers they make.

    Llama's norm computes in fp32: its input there, its root mean square, and (to learn its own
    weight) what it multiplies that weight with. Gemma's multiplies in fp32.
    """
    size, width = run.number_bytes, anatomy.hidden
    made = 2 * width * size
    if anatomy.norm == "layer":
        return anatomy.norms * (width + 2) * size + made
    scaled = FP32 if anatomy.norm == "zero_rms" else size
    own = scaled * width if run.learns.base else 0
    return anatomy.norms * (FP32 * width + FP32 + own) + made


def _attention_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return queries, keys, values, output; sums of softmax, or scores where they are stored."""
    size, wide, keys = run.number_bytes, anatomy.attention_width, anatomy.key_width
    if anatomy.stores_scores:
        rounded = 0 if size == FP32 else size
        scores = anatomy.heads * run.longest * (size + FP32 + rounded)
        return 4 * wide * size + scores
    repeated = wide if run.packed else keys
    mask = bin_width(run) * size if run.packed else 0
    return (2 * wide + 2 * repeated) * size + FP32 * anatomy.heads + mask


def bin_width(run: Pass) -> int:
    """Return the most columns of a bin that rows share."""
    return min(WIDEST * run.longest, run.tokens)


def _adapter_bytes(anatomy: Anatomy, run: Pass) -> float:
    """Return the narrow tensors between the two matrices of each adapter."""
    layers = len(anatomy.linears) / anatomy.num_layers
    return run.learns.adapter_rank * layers * run.number_bytes
