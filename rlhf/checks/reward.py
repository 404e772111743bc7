"""The terms of PPO's reward, and models or functions that are given but not used in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlhf.catalog.stages import PIPELINE, PPO, REWARD_MODEL
from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext, is_made_here, is_model
from rlhf.config.commands import own_reward_model
from rlhf.config.rewards import is_same_folder


def check_reward(context: CheckContext) -> str:
    """Report the terms of a score; a CheckWarning where a model or function has no part in it."""
    if PPO not in context.stages:
        return "no stage uses one"
    made_of, left_out = reward_of(context), list(_left_out(context))
    return CheckWarning("\n".join(left_out)) if left_out else made_of


def reward_of(context: CheckContext) -> str:
    """Return the sum that scores a response, such as `1 x reward.py:f + 0.5 x RUN/reward_model`."""
    return " + ".join(
        f"{source.term}, which this run trains" if is_made_here(context, source) else source.term
        for source in context.mix.sources
    )


def _left_out(context: CheckContext) -> Iterator[str]:
    unused = _unused_model(context)
    if unused is not None:
        remedy = f"reward_model.path={unused} would use it"
        if context.experiment.reward.sources is not None:
            remedy = f"an entry {{model: {unused}}} would use it"
        why = _what_is_given(context)
        yield (
            f"the reward is {reward_of(context)}; {unused} is there and left out, as {why} is "
            f"given; {remedy}"
        )
    yield from _untrained(context)
    if context.experiment.reward.sources is None:
        reward, kinds = context.experiment.reward, {s.asked.kind for s in context.mix.sources}
        yield from _weighs("function", reward.function_weight, is_there="function" in kinds)
        yield from _weighs("model", reward.model_weight, is_there="model" in kinds)


def _what_is_given(context: CheckContext) -> str:
    experiment = context.experiment
    if experiment.reward.sources is not None:
        return "reward.sources"
    return "reward.function" if experiment.reward_model.path is None else "reward_model.path"


def _untrained(context: CheckContext) -> Iterator[str]:
    """Report rankings that a pipeline is given, and learns no reward model from."""
    experiment = context.experiment
    is_skipped = REWARD_MODEL not in context.stages and experiment.data.preferences is not None
    if context.command != PIPELINE or not is_skipped:
        return
    if experiment.reward.sources is None:
        yield (
            f"data.preferences is not learned from, as reward_model.path="
            f"{experiment.reward_model.path} is given; unset one"
        )
    else:
        own = own_reward_model(experiment)
        yield (
            "data.preferences is not learned from, as reward.sources does not name the run's own "
            f"reward model; add {{model: {own}}}, or unset it"
        )


def _unused_model(context: CheckContext) -> str | None:
    """Return the reward model in the run's folder, or in its sweep's, where PPO does not use it."""
    run_dir = Path(context.experiment.run_dir)
    if REWARD_MODEL in context.stages:
        return None
    near = [folder / REWARD_MODEL.folder for folder in (run_dir, run_dir.parent)]
    used = context.mix.models
    if any(is_same_folder(model, own) for model in used for own in near):
        return None
    return next((str(own) for own in near if is_model(own)), None)


def _weighs(part: str, weight: float, *, is_there: bool) -> Iterator[str]:
    if is_there and not weight:
        yield f"reward.{part}_weight=0: the {part} is called, and its scores count nothing"
    if not is_there and weight != 1.0:
        yield f"reward.{part}_weight={weight:g} weighs nothing, as the reward has no {part}"
