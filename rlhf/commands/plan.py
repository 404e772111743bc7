"""Plan: `rlhf plan` prints what a run would need of some hardware, and settings that fit it."""

from __future__ import annotations

from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.planning.fit import Fit, assess
from rlhf.planning.hardware import Hardware, read_hardware
from rlhf.planning.propose import changes, idle_note, nearest, propose
from rlhf.planning.shapes import RoleShape, role_shapes
from rlhf.planning.speed import speed
from rlhf.planning.table import hardware_line, memory_table, shape_lines, speed_lines, wrapped


def plan(experiment: Experiment) -> None:
    """Print memory, time and settings of a run on plan.hardware.

    Raises:
        ConfigError: when the settings do not fit the hardware (they and the nearest that do are
            printed before), or nothing does.
    """
    shapes = role_shapes(experiment)
    hardware = read_hardware(experiment.plan.hardware)
    _print([hardware_line(hardware)])
    if _asks_for_none(experiment, hardware):
        _print(["", "no GPU is asked for (cluster.gpus_per_rank=0); what would fit:"])
        _show_proposal(experiment, shapes, hardware)
        return
    fit = assess(experiment, shapes, hardware)
    _show(fit)
    if fit.fits:
        return
    _print(["", "these settings do not fit:", *(f"  {line}" for line in fit.shortages)])
    _print(["", "nearest that fits:"])
    _show_proposal(experiment, shapes, hardware)
    raise ConfigError("\n".join(fit.shortages))


def _asks_for_none(experiment: Experiment, hardware: Hardware) -> bool:
    """Whether the hardware has GPUs and the settings want none: nothing was placed yet."""
    cluster = experiment.cluster
    wants = cluster.gpus_per_rank or any(row.gpus for row in cluster.table().values())
    return hardware.kind.is_gpu and not wants


def _show_proposal(experiment: Experiment, shapes: list[RoleShape], hardware: Hardware) -> None:
    proposal = propose(experiment, shapes, hardware)
    if proposal is not None:
        _show(proposal)
        _print(["", "settings:", *wrapped(changes(experiment, proposal.experiment))])
        note = idle_note(proposal)
        _print([] if note is None else ["", note])
        return
    other = nearest(experiment, shapes, hardware)
    if other is None:
        raise ConfigError(
            f"plan.hardware={hardware.name}: no setting fits, nor do more nodes or any device "
            "known here; a rank that writes holds all weights on its device, "
            f"{_least_copy(shapes)}; take a smaller model"
        )
    _print([f"  nothing on {hardware.name}; on {other.hardware.name}:"])
    _show(other)
    _print(["", "settings:", *wrapped(changes(experiment, other.experiment))])
    raise ConfigError(
        f"plan.hardware={hardware.name} is too small for any setting; a rank that writes needs all "
        f"weights on its device, {_least_copy(shapes)}; nearest: {other.hardware.name}"
    )


def _least_copy(shapes: list[RoleShape]) -> str:
    weights = next(shape.num_weights for shape in shapes if shape.writes)
    return f"{weights:,} x 2 bytes = {2 * weights / 2**30:,.1f} GiB"


def _show(fit: Fit) -> None:
    _print(["", *shape_lines(fit), "", "GiB a rank:", *memory_table(fit)])
    _print(["", *speed_lines(fit, speed(fit))])


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line)  # noqa: T201 - the command's answer
