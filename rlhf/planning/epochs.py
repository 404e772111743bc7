"""Epochs: seconds that SFT and the reward model take over the tokens of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf.catalog.stages import PPO, StageRecord
from rlhf.config.commands import value_of
from rlhf.config.experiment import Experiment
from rlhf.planning.fit import assess
from rlhf.planning.hardware import Hardware, read_hardware
from rlhf.planning.shapes import RoleShape, role_shapes
from rlhf.planning.speed import ON_CPU, ON_GPU, speed


def seconds_of(
    experiment: Experiment, tokens: Mapping[StageRecord, int], *, prompts: bool
) -> dict[str, float]:
    """Return the predicted seconds of each stage on plan.hardware, all epochs and steps.

    Args:
        experiment: The configuration.
        tokens: Tokens of one epoch, by stage; each goes over its rows in epochs.
        prompts: Whether PPO runs, too.

    Raises:
        ConfigError: when no model is named, or the hardware is not known.
        ModelError: when a config cannot be read.
    """
    shapes, hardware = role_shapes(experiment), read_hardware(experiment.plan.hardware)
    found: dict[str, float] = {}
    for stage, count in tokens.items():
        epochs = value_of(experiment, f"{stage.name}.num_epochs")
        found[stage.name] = epochs * epoch_seconds(experiment, shapes, hardware, stage, count)
    if prompts:
        found[PPO.name] = 3600 * speed(assess(experiment, shapes, hardware)).hours
    return found


def epoch_seconds(
    experiment: Experiment,
    shapes: list[RoleShape],
    hardware: Hardware,
    stage: StageRecord,
    tokens: int,
) -> float:
    """Return the seconds of one epoch: 6 P a token as in an update of PPO, 4 P with adapters.

    2 P more recompute blocks. Ranks share the rows; without a GPU they share the machine, too.
    """
    role = stage.learns[0]
    shape = next((s for s in shapes if s.role == role and s.num_trainable), shapes[0])
    each = 4 if shape.num_trainable < shape.num_weights else 6
    each += 2 if experiment.engine.gradient_checkpointing else 0
    ranks = experiment.cluster.placement(role).ranks if hardware.kind.is_gpu else 1
    reached = (ON_GPU if hardware.kind.is_gpu else ON_CPU).learn * hardware.kind.tflops * 1e12
    return each * shape.num_weights * tokens / ranks / reached
