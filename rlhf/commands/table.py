"""The commands by name: each takes a checked Experiment and runs to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rlhf.catalog.stages import PIPELINE, TRAINING
from rlhf.checkpoint.mode import readable_by
from rlhf.checks.context import CheckContext
from rlhf.commands.evaluate import evaluate
from rlhf.commands.export import export
from rlhf.commands.train import train
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.report import write_report


def run_command(command: str, experiment: Experiment) -> float | None:
    """Run one command, such as `ppo` or `doctor ppo`; return the figure a sweep would compare."""
    with readable_by(experiment.run_mode):
        return _COMMANDS[command.partition(" ")[0]](command, experiment)


def _report(command: str, experiment: Experiment) -> None:
    """Write RUN/report.html from the files in the run's folder."""
    run_dir = Path(experiment.run_dir)
    if not (run_dir / "run.json").is_file():
        raise ConfigError(f"run_dir={run_dir} holds no run; give the folder of one")
    print(write_report(run_dir))  # noqa: T201 - the command's answer


def _export(command: str, experiment: Experiment) -> None:
    """Write the finished policy as one plain folder."""
    print(export(experiment))  # noqa: T201 - the command's answer


def _doctor(command: str, experiment: Experiment) -> None:
    """Check what the pipeline (`doctor`) or another command (`doctor ppo`) would need."""
    from rlhf.checks.doctor import diagnose

    diagnose(CheckContext(command.partition(" ")[2] or PIPELINE, experiment))


def _plan(command: str, experiment: Experiment) -> None:
    """Print the memory and time a run would need on plan.hardware."""
    from rlhf.commands.plan import plan

    plan(experiment)


def _data(command: str, experiment: Experiment) -> None:
    """Print what training will see of the data."""
    from rlhf.commands.data import show_data

    show_data(experiment)


_COMMANDS: dict[str, Callable[[str, Experiment], float | None]] = {
    **dict.fromkeys(TRAINING, train),
    "evaluate": evaluate,
    "report": _report,
    "export": _export,
    "plan": _plan,
    "doctor": _doctor,
    "data": _data,
}
