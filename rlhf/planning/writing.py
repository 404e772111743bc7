"""Generation: bytes for reading prompts and drawing tokens, beside weights and cache."""

from __future__ import annotations

import torch

from rlhf.config.experiment import Experiment
from rlhf.engine.memory import SHARE
from rlhf.generation.prepacked import least_weights
from rlhf.generation.steps import COLUMNS, ROWS
from rlhf.models.model_shape import ModelShape
from rlhf.planning.activations import Learns, Pass, working_bytes
from rlhf.planning.model_memory import FP32, Model
from rlhf.planning.shapes import longest_row, rows_a_rank


def arranged_bytes(model_shape: ModelShape, model: Model, spare: float) -> float:
    """Return the bytes of copies of large linear layers, by which a CPU multiplies few rows.

    Args:
        model_shape: The network's sizes.
        model: The model as a rank stores it.
        spare: Bytes that may be allocated; where they are too few, there are no copies.
    """
    if model.on_gpu:
        return 0
    dtype = torch.float32 if model.number_bytes == FP32 else torch.bfloat16
    least = least_weights(dtype)
    needed = model.number_bytes * sum(size for size in model_shape.plain_linears if size >= least)
    return needed if needed <= SHARE * spare else 0


def writing_bytes(
    model_shape: ModelShape, model: Model, experiment: Experiment, slots: int
) -> float:
    """Return the larger of the bytes to read prompts and to draw tokens, and graphs on a GPU.

    Args:
        model_shape: The network's sizes.
        model: The model as a rank stores it.
        experiment: Lengths, responses a prompt, temperature.
        slots: Rows that are generated together.
    """
    graphs = 0
    if model.on_gpu:
        count = -(-slots // ROWS) * -(-longest_row(experiment) // COLUMNS)
        graphs = count * slots * model_shape.vocab * model.number_bytes // 2
    prompts = rows_a_rank(slots, experiment.ppo.samples_per_prompt)
    copied = model.number_bytes != FP32 or experiment.generation.temperature not in (0.0, 1.0)
    drawing = slots * model_shape.vocab * (model.number_bytes + FP32 * (2 if copied else 1))
    longest = experiment.data.max_prompt_length
    return max(_reading_bytes(model_shape, model, prompts, longest), drawing) + graphs


def _reading_bytes(model_shape: ModelShape, model: Model, prompts: int, longest: int) -> float:
    """Return the bytes to read prompts: all that get a slot at once, each different one once."""
    run = Pass(
        number_bytes=model.number_bytes,
        tokens=prompts * longest,
        longest=longest,
        positions=prompts,
        packed=False,
        learns=Learns(base=False),
        on_gpu=model.on_gpu,
    )
    reading = working_bytes(model_shape, run)
    if not model_shape.splits_head:
        reading = max(reading, 2 * run.tokens * model_shape.vocab * model.number_bytes)
    return reading
