"""What the reward of PPO is made of, and what is there and left out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlhf.cli.checks.case import Case, is_model
from rlhf.cli.checks.check import Caution


def look_at_reward(case: Case) -> str:
    """Say what a score is the sum of; doubtful where something that is there has no part in it."""
    if "ppo" not in case.stages:
        return "no stage is paid one"
    made_of, left_out = reward_of(case), list(_left_out(case))
    return Caution("\n".join(left_out)) if left_out else made_of


def reward_of(case: Case) -> str:
    """Return the sum that scores a response, such as `1 x reward.py:f + 0.5 x RUN/reward_model`."""
    reward, parts = case.experiment.reward, list[str]()
    if reward.function is not None:
        parts.append(f"{reward.function_weight:g} x function {reward.function}")
    if case.reward_model is not None:
        parts.append(f"{reward.model_weight:g} x reward model {case.reward_model}")
    elif "reward_model" in case.stages:
        own = f"{case.experiment.run_dir}/reward_model"
        parts.append(f"{reward.model_weight:g} x reward model {own}, which this run trains")
    return " + ".join(parts)


def _left_out(case: Case) -> Iterator[str]:
    experiment, reward = case.experiment, case.experiment.reward
    unused = _unused_model(case)
    if unused is not None:
        why = "reward.function" if experiment.reward_model.path is None else "reward_model.path"
        yield (
            f"the reward is {reward_of(case)}; {unused} is there and left out, as {why} is "
            f"given; reward_model.path={unused} would use it"
        )
    if case.command == "pipeline" and experiment.reward_model.path and experiment.data.preferences:
        yield (
            f"data.preferences is not learned from, as reward_model.path="
            f"{experiment.reward_model.path} is given; unset one"
        )
    has_model = case.reward_model is not None or "reward_model" in case.stages
    yield from _weighs("function", reward.function_weight, is_there=reward.function is not None)
    yield from _weighs("model", reward.model_weight, is_there=has_model)


def _unused_model(case: Case) -> str | None:
    """Return the reward model in the run's folder, or in its sweep's, where PPO does not use it."""
    run_dir, used = Path(case.experiment.run_dir), case.reward_model
    if "reward_model" in case.stages:
        return None
    near = [folder / "reward_model" for folder in (run_dir, run_dir.parent)]
    is_used = used is not None and Path(used).absolute() in [own.absolute() for own in near]
    return next((str(own) for own in near if is_model(own) and not is_used), None)


def _weighs(part: str, weight: float, *, is_there: bool) -> Iterator[str]:
    if is_there and not weight:
        yield f"reward.{part}_weight=0: the {part} is asked, and its scores count nothing"
    if not is_there and weight != 1.0:
        yield f"reward.{part}_weight={weight:g} weighs nothing, as the reward has no {part}"
