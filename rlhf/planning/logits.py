"""Logits: bytes at the top of a network when tokens are scored or learned from."""

from __future__ import annotations

from rlhf.algo.logprobs import CACHED
from rlhf.models.language_model import LOGIT_CHUNK
from rlhf.models.model_shape import ModelShape
from rlhf.planning.activations import FP32, Pass

SCORED = 3
"""fp32 tensors as large as logits: their log-softmax, that without infinities, their product."""
LEARNED = 2
"""On the way back: their fp32 copy, divided by the temperature, and its softmax."""


def logit_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the peak bytes of a vocabulary's logits and the tensors made beside them.

    Where a pass only scores: hidden states of all positions, logits of a chunk of them, and what
    going over these makes. Where it learns, that or, larger, what its way back makes of them.
    """
    number = run.number_bytes
    if not model_shape.splits_head:
        return _whole_logit_bytes(model_shape, run)
    hidden, chunk = model_shape.hidden * number, min(run.positions, LOGIT_CHUNK)
    logits = chunk * model_shape.vocab * number
    most = logits + _slice_bytes(model_shape, run, chunk, SCORED)
    if not run.learns.any:
        return run.positions * hidden + most
    weight = _head_weight_bytes(model_shape, run)
    backward = 2 * logits + _slice_bytes(model_shape, run, chunk, LEARNED)
    most = max(most, backward, logits + weight + chunk * hidden)
    if run.positions > chunk:
        most += weight + (run.positions - chunk) * hidden
    return run.positions * hidden + most


def _whole_logit_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the same where logits of all tokens are made, scaled or capped, and then chosen from.

    A cap keeps its tanh for the way back, on which gradients come to it and leave it.
    """
    whole = run.tokens * model_shape.vocab * run.number_bytes
    chosen = run.positions * model_shape.vocab * run.number_bytes
    scored = whole + chosen + _slice_bytes(model_shape, run, run.positions, SCORED)
    if not run.learns.any:
        return max(2 * whole, scored)
    learned = 2 * chosen + _slice_bytes(model_shape, run, run.positions, LEARNED)
    head = _head_weight_bytes(model_shape, run) + run.tokens * model_shape.hidden * run.number_bytes
    return max(whole + scored, whole + learned, 3 * whole, whole + head)


def _slice_bytes(model_shape: ModelShape, run: Pass, positions: int, tensors: int) -> float:
    """Return what stands in fp32 of logits that are gone over: all at once on a GPU, else slices.

    Slices follow one another, so there is one tensor more: of the slice before.
    """
    if run.on_gpu:
        return FP32 * tensors * positions * model_shape.vocab
    rows = min(positions, max(1, CACHED // model_shape.vocab))
    return FP32 * (tensors + 1) * rows * model_shape.vocab


def _head_weight_bytes(model_shape: ModelShape, run: Pass) -> float:
    """Return the bytes of the gradient of the output layer's weights, for a chunk or summed."""
    return model_shape.vocab * model_shape.hidden * run.number_bytes if run.learns.base else 0
