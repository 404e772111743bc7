"""The training commands: the pipeline, or one of its stages."""

from __future__ import annotations

from pathlib import Path

from rlhf.catalog.stages import PPO, SFT
from rlhf.checks.context import CheckContext
from rlhf.checks.preflight import preflight
from rlhf.checks.reward import reward_of
from rlhf.commands.evaluate import compare_policies
from rlhf.commands.session import opened, reported
from rlhf.config.experiment import Experiment
from rlhf.observe.manifest import note_reward
from rlhf.observe.samples import read_samples
from rlhf.rewards.process import RewardProcess
from rlhf.stages.pipeline import makes_start, run_stage, run_start
from rlhf.stages.run import Made, Run


def train(command: str, experiment: Experiment) -> float | None:
    """Run the command's stages, then evaluate the result and write the report."""
    context = CheckContext(command, experiment)
    warnings = preflight(context)
    stages = context.stages
    with opened(command, experiment, context.inputs, stages) as run:
        for line in warnings:
            run.log.warn(line)
        if PPO in stages:
            run.log.note(f"reward: {reward_of(context)}")
            note_reward(run.folder, [source.term for source in context.mix.sources])
        if makes_start(run):
            run.opened.claim(stages[0], experiment.model_dump(mode="json"))
        made = Made(policy=run_start(run), mix=context.mix)
        for stage in stages:
            before, made = made, run_stage(stage, run, made)
            if stage is PPO:
                _compared(run, made.policy, before.policy, context.judge)
        return reported(run)


def _compared(run: Run, after: Path, before: Path, judge: RewardProcess | None) -> None:
    """Show what PPO changed: the judge's verdict, where there is one, and some answers."""
    if judge is not None:
        compare_policies(run, after, before, judge)
    samples = read_samples(run.folder)
    last = samples.get((PPO.name, run.experiment.ppo.num_steps))
    if last:
        run.log.compare(samples.get((SFT.name, 0), []), last)
