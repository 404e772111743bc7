"""Real roles in this process, over small models made on the fly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from rlhf.checkpoint.files import write_json
from rlhf.checkpoint.run import RUN_FILE, SCHEMA_VERSION, Record, RunFolder
from rlhf.config.experiment import Experiment
from rlhf.config.observe import TrackingConfig
from rlhf.observe.log import RunLog
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.runtime import Runtime
from rlhf.stages.ppo import PPO
from tests import models
from tests.specs import reward_mix, runtime, spec

CLOCKED = ("time/", "busy/", "idle/", "speed/")


@dataclass(frozen=True)
class Step:
    """A PPO stage, its runtime, and the settings they were made from."""

    stage: PPO
    runtime: Runtime
    experiment: Experiment


@pytest.fixture
def ppo_of(folder) -> Callable[..., Step]:
    """Build a PPO stage over fresh roles."""
    from rlhf.algo.estimators import find_estimator
    from rlhf.roles.no_value import NoValue
    from rlhf.stages.run import build_terms, prompt_source

    def build(**sections: dict[str, object]) -> Step:
        experiment = models.experiment(**{"ppo": {"num_steps": 4}, **sections})
        made = runtime(experiment)
        policy, reward = Path(folder()), Path(folder(kind="classifier"))
        config = experiment.ppo
        reads_values = find_estimator(config.advantage_estimator).reads_values
        value = made.assign(spec("value", reward)) if reads_values else NoValue()
        stage = PPO(
            prompts=prompt_source(models.prompts(), config, experiment.seed),
            policy=made.assign(spec("policy", policy)),
            reference=made.assign(spec("reference", policy)),
            reward=model_reward(made, reward, policy),
            value=value,
            terms=build_terms(experiment),
        )
        return Step(stage, made, experiment)

    return build


def model_reward(made: Runtime, model: Path, policy: Path) -> RewardSum:
    """Return a reward that is a model alone."""
    asked = made.assign(spec("reward", model, policy=policy))
    return RewardSum(asked, reward_mix(model))


@pytest.fixture
def logged(tmp_path) -> Callable[[str], RunLog]:
    """Open a quiet log in a folder of its own."""

    def open_log(name: str) -> RunLog:
        return RunLog(tmp_path / name, TrackingConfig(console=False), config={"seed": 0})

    return open_log


def opened(folder: Path) -> RunFolder:
    """Return a run's folder, which needs no lock in a test."""
    if not (folder / RUN_FILE).exists():
        write_json(folder / RUN_FILE, asdict(Record("run", {}, SCHEMA_VERSION)))
    return RunFolder(folder, "run", lock=-1)


def recorded(folder: Path) -> list[dict[str, object]]:
    """Return every recorded step, without metrics of time."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {
            "stage": row["stage"],
            "step": row["step"],
            **{k: v for k, v in row["metrics"].items() if not k.startswith(CLOCKED)},
        }
        for row in map(json.loads, lines)
    ]
