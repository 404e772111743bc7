"""The terms of PPO's reward, and models or functions that are given but not used in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlhf.catalog.stages import PIPELINE, PPO, REWARD_MODEL
from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext, is_model


def check_reward(context: CheckContext) -> str:
    """Report the terms of a score; a CheckWarning where a model or function has no part in it."""
    if PPO not in context.stages:
        return "no stage uses one"
    made_of, left_out = reward_of(context), list(_left_out(context))
    return CheckWarning("\n".join(left_out)) if left_out else made_of


def reward_of(context: CheckContext) -> str:
    """Return the sum that scores a response, such as `1 x reward.py:f + 0.5 x RUN/reward_model`."""
    reward, parts = context.experiment.reward, list[str]()
    if reward.function is not None:
        parts.append(f"{reward.function_weight:g} x function {reward.function}")
    if context.reward_model is not None:
        parts.append(f"{reward.model_weight:g} x reward model {context.reward_model}")
    elif REWARD_MODEL in context.stages:
        own = f"{context.experiment.run_dir}/{REWARD_MODEL.folder}"
        parts.append(f"{reward.model_weight:g} x reward model {own}, which this run trains")
    return " + ".join(parts)


def _left_out(context: CheckContext) -> Iterator[str]:
    experiment, reward = context.experiment, context.experiment.reward
    unused = _unused_model(context)
    if unused is not None:
        why = "reward.function" if experiment.reward_model.path is None else "reward_model.path"
        yield (
            f"the reward is {reward_of(context)}; {unused} is there and left out, as {why} is "
            f"given; reward_model.path={unused} would use it"
        )
    if context.command == PIPELINE and experiment.reward_model.path and experiment.data.preferences:
        yield (
            f"data.preferences is not learned from, as reward_model.path="
            f"{experiment.reward_model.path} is given; unset one"
        )
    has_model = context.reward_model is not None or REWARD_MODEL in context.stages
    yield from _weighs("function", reward.function_weight, is_there=reward.function is not None)
    yield from _weighs("model", reward.model_weight, is_there=has_model)


def _unused_model(context: CheckContext) -> str | None:
    """Return the reward model in the run's folder, or in its sweep's, where PPO does not use it."""
    run_dir, used = Path(context.experiment.run_dir), context.reward_model
    if REWARD_MODEL in context.stages:
        return None
    near = [folder / REWARD_MODEL.folder for folder in (run_dir, run_dir.parent)]
    is_used = used is not None and Path(used).absolute() in [own.absolute() for own in near]
    return next((str(own) for own in near if is_model(own) and not is_used), None)


def _weighs(part: str, weight: float, *, is_there: bool) -> Iterator[str]:
    if is_there and not weight:
        yield f"reward.{part}_weight=0: the {part} is called, and its scores count nothing"
    if not is_there and weight != 1.0:
        yield f"reward.{part}_weight={weight:g} weighs nothing, as the reward has no {part}"
