"""The run's folder: may it be used, and does all that the run writes fit on the disk."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rlhf.catalog.stages import PPO, RoleName
from rlhf.checkpoint.disk import existing
from rlhf.checkpoint.run import check_run
from rlhf.checks.context import CheckContext, is_made_here, roles_needed
from rlhf.errors import ConfigError
from rlhf.models.counts import Counts, count, count_new

GIB = 2**30
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "auto": 4}
"""Bytes of a saved weight, by precision; auto at its most."""
STATE_BYTES = 12
"""Bytes of a trainable weight in a checkpoint: itself and two moments of AdamW, in fp32."""
AVERAGE_BYTES = 4
LOGS_BYTES, STEP_BYTES = 2 * 2**20, 16 * 2**10
"""Manifest, samples and report of a run; metrics, timeline and report of a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writes:
    """The most a run writes, in bytes."""

    models: int
    """Finished model folders, which stay."""
    checkpoints: int
    """Checkpoints of the stage that needs the most; one more than checkpoint.keep in saving."""
    logs: int
    """What is recorded."""

    @property
    def total(self) -> int:
        """The sum, in bytes."""
        return self.models + self.checkpoints + self.logs


def check_run_folder(context: CheckContext) -> str:
    """Report whether the folder is new or a run's own.

    Raises:
        ConfigError: when run_dir cannot be written to, or belongs to another run.
        CheckpointError: when its record is damaged.
    """
    run_dir = Path(context.experiment.run_dir)
    folder = existing(run_dir)
    check_run(run_dir, context.experiment.model_dump(mode="json"), context.command)
    if not is_writable(folder):
        raise ConfigError(
            f"run_dir={run_dir} cannot be used: {folder} cannot be written to; "
            "choose a folder this user may write to"
        )
    return f"{run_dir.absolute()}, {'which is there' if folder == run_dir.absolute() else 'new'}"


def check_disk(context: CheckContext) -> str:
    """Compare the bytes the run will write with those that are free.

    Raises:
        ConfigError: when too little is free.
    """
    run_dir = Path(context.experiment.run_dir).absolute()
    folder, writes = existing(run_dir), writes_of(context)
    needed = max(0, writes.total - _size(run_dir))
    free, keep = shutil.disk_usage(folder).free, context.experiment.checkpoint.keep
    text = (
        f"{_amount(needed)} needed at most ({_amount(writes.models)} models, "
        f"{_amount(writes.checkpoints)} checkpoints), {_amount(free)} free at {folder}"
    )
    if needed > free:
        raise ConfigError(
            f"run_dir={context.experiment.run_dir}: {text}; free some, lower "
            f"checkpoint.keep={keep}, or choose a folder on a larger disk"
        )
    return text


def writes_of(context: CheckContext) -> Writes:
    """Predict the bytes the stages write, by the shapes of their models."""
    experiment, stages = context.experiment, context.stages
    policy = _policy(context)
    scalar_path = experiment.value.path or _first_reward_model(context)
    value = count(scalar_path, experiment.peft) if scalar_path else policy
    reads_values = "value" in roles_needed(stages, experiment)
    size: dict[RoleName, Counts] = {"policy": policy, "reward": policy, "value": value}
    learners = [
        [size[role] for role in stage.learns if role != "value" or reads_values] for stage in stages
    ]
    start = context.inputs.start
    made = [] if start is not None and not start.endswith(".gguf") else [policy]
    models = made + [counts for learning in learners for counts in learning]
    states = [sum(counts.learned for counts in learning) * STATE_BYTES for learning in learners]
    if PPO in stages and experiment.ppo.ema_decay is not None:
        states[stages.index(PPO)] += policy.total * AVERAGE_BYTES
    saved = WEIGHT_BYTES[experiment.engine.precision]
    for at, stage in enumerate(stages):
        if stage.loop == "epochs":  # The best model is a part of every checkpoint.
            states[at] += sum(counts.total for counts in learners[at]) * saved
    return Writes(
        models=sum(counts.total for counts in models) * saved,
        checkpoints=max(states) * (experiment.checkpoint.keep + 1),
        logs=LOGS_BYTES + STEP_BYTES * experiment.ppo.num_steps,
    )


def is_writable(folder: Path) -> bool:
    """Return whether a file can be made in a folder, by trying: permissions are not enough."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _policy(context: CheckContext) -> Counts:
    experiment, start = context.experiment, context.inputs.start
    if start is not None:
        return count(start, experiment.peft)
    assert experiment.policy.new is not None
    return count_new(experiment.policy.new, context.inputs.tokenizer, experiment.peft)


def _first_reward_model(context: CheckContext) -> str | None:
    """Return what the value role starts from; None where this run trains it first."""
    first = next((source for source in context.mix.sources if source.model is not None), None)
    return None if first is None or is_made_here(context, first) else first.model


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if _is_own(path))


def _is_own(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _amount(size: int) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB else f"{size / 2**20:,.0f} MiB"
