"""The commands: each takes a checked Experiment and runs to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rlhf.checkpoint.artifact import inputs_fingerprint
from rlhf.checkpoint.files import write_json
from rlhf.checkpoint.run import open_run
from rlhf.cli.checks.context import CheckContext, roles_needed
from rlhf.cli.checks.reward import reward_of
from rlhf.cli.export import export
from rlhf.cli.preflight import preflight
from rlhf.config.arithmetic import arithmetic
from rlhf.config.commands import StageName
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.evaluation.compare import answer, compare
from rlhf.evaluation.judges import Judge, load_judge
from rlhf.models.weights import check_weights
from rlhf.observe.files import EVALUATION, read_object
from rlhf.observe.log import RunLog
from rlhf.observe.manifest import note_stage, write_manifest
from rlhf.observe.report import write_report
from rlhf.observe.report.read import read_run
from rlhf.observe.samples import read_samples
from rlhf.observe.sweep import figures_of, objective
from rlhf.runtime.reach import check_reach
from rlhf.runtime.runtime import Processes
from rlhf.runtime.specs import SamplerSpec
from rlhf.stages.inputs import Inputs, held_out, load_inputs
from rlhf.stages.pipeline import run_ppo, run_reward_model, run_sft, run_start
from rlhf.stages.rehearsal import Rehearsal
from rlhf.stages.run import Run

TRAINING = ("pipeline", "sft", "reward_model", "ppo")


def run_command(command: str, experiment: Experiment) -> float | None:
    """Run one command, such as `ppo` or `doctor ppo`; return the figure a sweep would compare."""
    return _COMMANDS[command.partition(" ")[0]](command, experiment)


def _train(command: str, experiment: Experiment) -> float | None:
    """Run the command's stages, then evaluate the result and write the report."""
    context = CheckContext(command, experiment)
    warnings = preflight(context)
    stages = context.stages
    with _opened(command, experiment, context.inputs, stages) as run:
        for line in warnings:
            run.log.warn(line)
        if "ppo" in stages:
            run.log.note(f"reward: {reward_of(context)}")
        start = run_start(run)
        policy = run_sft(run, start) if "sft" in stages else start
        reward_model = _reward_model(run, context, policy)
        if "ppo" not in stages:
            return _reported(run)
        candidate = run_ppo(run, policy, reward_model)
        if context.judge is not None:
            _compare(run, candidate, policy, context.judge)
        samples = read_samples(run.folder)
        before, after = samples.get(("sft", 0), []), samples.get(("ppo", experiment.ppo.num_steps))
        if after:
            run.log.compare(before, after)
        return _reported(run)


def _reward_model(run: Run, context: CheckContext, base: Path) -> Path | None:
    """Train the reward model, or return the one there is; None when only a function scores."""
    if "reward_model" in context.stages:
        return run_reward_model(run, base)
    return None if context.reward_model is None else Path(context.reward_model)


@contextmanager
def _opened(
    command: str, experiment: Experiment, inputs: Inputs, stages: list[StageName]
) -> Iterator[Run]:
    """Open the run's folder, log and (when first needed) processes; close all at the end."""
    config = experiment.model_dump(mode="json")
    with ExitStack() as stack:
        folder = stack.enter_context(open_run(Path(experiment.run_dir), config, command))
        log = stack.enter_context(
            RunLog(
                folder.path,
                experiment.tracking,
                config=config,
                run_id=folder.run_id,
                max_kl=experiment.sweep.max_kl,
            )
        )
        if command in TRAINING:
            data = inputs.described(experiment.data)
            write_manifest(folder.path, command, _typed(command), config, data)
            for line in inputs.left_out:
                log.note(line)
            table = arithmetic(experiment, inputs.rows())
            log.table("batch arithmetic", ["stage", "quantity", "value"], table)
        roles = roles_needed(stages, experiment)
        processes = stack.enter_context(Processes(experiment, roles, log))
        yield Run(
            experiment=experiment,
            opened=folder,
            inputs=inputs,
            runtime=processes.runtime,
            log=log,
            timings=processes.timings,
            rehearsal=Rehearsal(inputs, processes.runtime, log.note),
            finished=lambda stage, figures: note_stage(
                folder.path, stage, {**figures, "nodes": processes.num_nodes}
            ),
        )


def _typed(command: str) -> list[str]:
    """Return the command line as the user typed it."""
    verb = "reproduce" if sys.argv[0] == "rlhf reproduce" else command
    return ["rlhf", verb, *(argument.removeprefix("++") for argument in sys.argv[1:])]


def _judge(experiment: Experiment) -> Judge | None:
    judge = experiment.evaluation.judge
    return (
        load_judge(judge, experiment.seed, experiment.reward.timeout_s)
        if judge is not None
        else None
    )


def _compare(run: Run, candidate: Path, baseline: Path, judge: Judge) -> None:
    """Compare both policies' answers to the held-out prompts; write RUN/evaluation.json."""
    assert run.inputs.prompts is not None
    config = run.experiment.evaluation
    made_of = run.fingerprint("ppo", candidate, baseline, *judge.files)
    settings = config.model_dump(mode="json")
    inputs_sha256 = inputs_fingerprint({"made_of": made_of, "settings": settings})
    path = run.folder / EVALUATION
    if read_object(path).get("inputs_sha256") == inputs_sha256:
        run.log.note("evaluation: already done, nothing it depends on has changed")
        return
    prompts = held_out(run.inputs.prompts, config.num_prompts, samples=config.samples_per_prompt)
    tokenizer = run.inputs.tokenizer
    run.rehearsal.settle_precision(candidate)
    run.log.note(f"evaluation: {len(prompts)} answers each by {candidate} and {baseline}")
    new = answer(run.runtime.assign(SamplerSpec(path=candidate)), prompts, judge, tokenizer)
    old = answer(run.runtime.assign(SamplerSpec(path=baseline)), prompts, judge, tokenizer)
    result = compare(new, old, str(config.judge), judge, run.experiment.seed)
    write_json(path, {**result, "inputs_sha256": inputs_sha256})
    low, high = result["interval"]  # type: ignore[misc]
    run.log.note(
        f"evaluation: the judge prefers {candidate.name} to {baseline.name} in "
        f"{result['win_rate']:.0%} of {result['num_answers']} answers "
        f"(95 % interval {low:.0%} to {high:.0%})"
    )


def _reported(run: Run) -> float | None:
    run.log.note(f"report: {write_report(run.folder)}")
    return objective(figures_of(read_run(run.folder)))


def _evaluate(command: str, experiment: Experiment) -> float | None:
    """Compare two policies' answers by the judge's scores."""
    judge, run_dir = _judge(experiment), Path(experiment.run_dir)
    if judge is None:
        raise ConfigError(
            "evaluation.judge is not set; give FILE.py:NAME or packaged:movie_reviews"
        )
    if experiment.data.prompts is None:
        raise ConfigError("data.prompts is not set; evaluate answers its held-out prompts")
    candidate = Path(experiment.evaluation.candidate or run_dir / "policy")
    baseline = Path(experiment.evaluation.baseline or run_dir / "sft")
    if experiment.evaluation.candidate is None and not candidate.is_dir():
        raise ConfigError(
            f"run_dir={run_dir} has no finished policy; run ppo, or set evaluation.candidate"
        )
    for folder in (candidate, baseline):
        check_weights(str(folder), scored=False)
    inputs = load_inputs(experiment, ["ppo"], str(candidate))
    check_reach(experiment.cluster, ["policy"])
    with _opened(command, experiment, inputs, ["sft"]) as run:
        _compare(run, candidate, baseline, judge)
        return _reported(run)


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
    from rlhf.cli.doctor import diagnose

    diagnose(CheckContext(command.partition(" ")[2] or "pipeline", experiment))


def _plan(command: str, experiment: Experiment) -> None:
    """Print the memory and time a run would need on plan.hardware."""
    from rlhf.cli.plan import plan

    plan(experiment)


_COMMANDS: dict[str, Callable[[str, Experiment], float | None]] = {
    **dict.fromkeys(TRAINING, _train),
    "evaluate": _evaluate,
    "report": _report,
    "export": _export,
    "plan": _plan,
    "doctor": _doctor,
}
