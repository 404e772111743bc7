"""The training commands: the pipeline, or one of its stages."""

from __future__ import annotations

from rlhf.checks.context import CheckContext
from rlhf.checks.preflight import preflight
from rlhf.checks.reward import reward_of
from rlhf.commands.evaluate import compare_policies
from rlhf.commands.session import opened, reported
from rlhf.config.experiment import Experiment
from rlhf.observe.manifest import note_reward
from rlhf.observe.samples import read_samples
from rlhf.stages.pipeline import run_ppo, run_reward_model, run_sft, run_start


def train(command: str, experiment: Experiment) -> float | None:
    """Run the command's stages, then evaluate the result and write the report."""
    context = CheckContext(command, experiment)
    warnings = preflight(context)
    stages = context.stages
    with opened(command, experiment, context.inputs, stages) as run:
        for line in warnings:
            run.log.warn(line)
        if "ppo" in stages:
            run.log.note(f"reward: {reward_of(context)}")
            note_reward(run.folder, [source.term for source in context.mix.sources])
        start = run_start(run)
        policy = run_sft(run, start) if "sft" in stages else start
        if "reward_model" in stages:
            run_reward_model(run, policy)
        if "ppo" not in stages:
            return reported(run)
        candidate = run_ppo(run, policy, context.mix)
        if context.judge is not None:
            compare_policies(run, candidate, policy, context.judge)
        samples = read_samples(run.folder)
        before, after = samples.get(("sft", 0), []), samples.get(("ppo", experiment.ppo.num_steps))
        if after:
            run.log.compare(before, after)
        return reported(run)
