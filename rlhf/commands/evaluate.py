"""Evaluation: two policies' answers to held-out prompts, compared by a judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from rlhf.catalog.stages import PPO, SFT
from rlhf.checkpoint.artifact import inputs_fingerprint
from rlhf.commands.session import opened, reported
from rlhf.config.data import DataConfig
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError, RLHFError
from rlhf.evaluation.compare import answer, compare
from rlhf.evaluation.judges import load_judge
from rlhf.models.weights import check_weights
from rlhf.observe import evaluations
from rlhf.observe.files import EVALUATION
from rlhf.rewards.process import RewardProcess
from rlhf.runtime.reach import check_reach
from rlhf.runtime.specs import SamplerSpec
from rlhf.stages.inputs import held_out, load_inputs
from rlhf.stages.run import Run


def compare_policies(
    run: Run, candidate: Path, baseline: Path, judge: RewardProcess, *, of_the_run: bool = True
) -> float:
    """Compare both policies' answers to the held-out prompts; keep the verdict.

    Args:
        run: The run.
        candidate: Folder of the policy that may be better.
        baseline: Folder of the policy to beat.
        judge: Scores the answers.
        of_the_run: Whether a training command asks, whose verdict is the run's.

    Returns:
        The win rate.
    """
    config = run.experiment.evaluation.model_dump(mode="json")
    made_of = run.fingerprint(PPO, candidate, baseline, *judge.files)
    inputs_sha256 = inputs_fingerprint({"made_of": made_of, "settings": config})
    done = evaluations.find(run.folder, inputs_sha256, of_the_run=of_the_run)
    if done is not None:
        run.log.note("evaluation: already done, nothing it depends on has changed")
        return cast("float", done["win_rate"])
    result = _compared(run, candidate, baseline, judge)
    subject = {
        "prompts": _sources(run.experiment.data),
        "candidate_path": _within(run.folder, candidate),
        "baseline_path": _within(run.folder, baseline),
    }
    made = {**result, **subject, evaluations.SHA256: inputs_sha256}
    _keep(run, made, of_the_run=of_the_run)
    return cast("float", result["win_rate"])


def _compared(run: Run, candidate: Path, baseline: Path, judge: RewardProcess) -> dict[str, object]:
    """Return the figures of both policies' answers to the same prompts."""
    assert run.inputs.prompts is not None
    config, data = run.experiment.evaluation, run.experiment.data
    prompts = held_out(run.inputs.prompts, config.num_prompts, samples=config.samples_per_prompt)
    tokenizer = run.inputs.tokenizer
    run.rehearsal.settle_precision(candidate)
    run.log.note(
        f"evaluation: {len(prompts)} answers each by {candidate} and {baseline}, to "
        f"{_which(data)} {', '.join(_sources(data))}"
    )
    new = answer(run.runtime.assign(SamplerSpec(path=candidate)), prompts, judge, tokenizer)
    old = answer(run.runtime.assign(SamplerSpec(path=baseline)), prompts, judge, tokenizer)
    return compare(new, old, str(config.judge), judge, run.experiment.seed)


def _keep(run: Run, verdict: dict[str, object], *, of_the_run: bool) -> None:
    """Write the verdict and say what it is."""
    file = evaluations.keep(run.folder, verdict, of_the_run=of_the_run)
    if evaluations.kept(run.folder)[0] != verdict:
        run.log.note(f"evaluation: kept as {file}; {EVALUATION} stays as it is, of another subject")
    run.log.note(f"evaluation: {_said(verdict)}")


def _said(verdict: dict[str, object]) -> str:
    """Return a verdict in words."""
    new, old = (Path(str(verdict[f"{side}_path"])).name for side in ("candidate", "baseline"))
    if verdict["interval"] is None:
        return (
            f"the judge scores all {verdict['num_answers']} answers of {new} and {old} alike, so "
            "there is no decision"
        )
    low, high = cast("list[float]", verdict["interval"])
    return (
        f"the judge prefers {new} to {old} in {verdict['win_rate']:.0%} of "
        f"{verdict['num_answers']} answers (95 % interval {low:.0%} to {high:.0%})"
    )


def _within(run_dir: Path, folder: Path) -> str:
    """Return a folder of the run by its name there, another one by its path."""
    return str(folder.relative_to(run_dir) if folder.is_relative_to(run_dir) else folder)


def _sources(data: DataConfig) -> list[str]:
    """Return where the prompts come from."""
    test = data.test_prompts
    return [test] if test is not None else [source.path for source in data.sources("prompts")]


def _which(data: DataConfig) -> str:
    """Return which prompts of their sources are asked."""
    splits = data.test_prompts is None and (data.test_fraction or data.validation_fraction)
    return "prompts held out of" if splits else "prompts of"


def evaluate(command: str, experiment: Experiment) -> float | None:
    """Compare two policies' answers by the judge's scores.

    Raises:
        ConfigError: naming, all at once, the settings that are missing, or else what is wrong with
            the judge and the policies.
    """
    problems = list(_missing(experiment))
    if problems:
        raise ConfigError("\n".join(problems))
    config, run_dir = experiment.evaluation, Path(experiment.run_dir)
    candidate = Path(config.candidate or run_dir / PPO.folder)
    baseline = Path(config.baseline or run_dir / SFT.folder)
    judge = _checked(experiment, candidate, baseline)
    inputs = load_inputs(experiment, [PPO], str(candidate))
    judge.refuse_without(inputs.prompt_columns)
    check_reach(experiment.cluster, ["policy"])
    with opened(command, experiment, inputs, [SFT]) as run:
        for line in inputs.warnings:
            run.log.warn(line)
        win_rate = compare_policies(run, candidate, baseline, judge, of_the_run=False)
        reported(run)
        return win_rate


def _missing(experiment: Experiment) -> Iterator[str]:
    """Yield a line for every setting that is needed and not given."""
    config, run_dir = experiment.evaluation, Path(experiment.run_dir)
    if config.judge is None:
        yield "evaluation.judge is not set; give FILE.py:NAME, such as my_judge.py:score"
    if experiment.data.prompts is None:
        yield "data.prompts is not set; evaluate asks its prompts, such as data.prompts=FILE.jsonl"
    if config.candidate is None and not (run_dir / PPO.folder).is_dir():
        yield f"run_dir={run_dir} has no finished policy; run ppo, or set evaluation.candidate"
    if config.baseline is None and not (run_dir / SFT.folder).is_dir():
        yield f"run_dir={run_dir} has no {SFT.folder}/ to compare with; set evaluation.baseline"


def _checked(experiment: Experiment, candidate: Path, baseline: Path) -> RewardProcess:
    """Return the judge, once it has loaded and both policies are whole."""
    judge, found = str(experiment.evaluation.judge), list[RewardProcess]()
    checks: list[Callable[[], None]] = [
        lambda: found.append(load_judge(judge, experiment.reward.timeout_s)),
        lambda: check_weights(str(candidate), scored=False),
        lambda: check_weights(str(baseline), scored=False),
    ]
    problems: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except RLHFError as error:
            problems[str(error)] = None
    if problems:
        raise ConfigError("\n".join(problems))
    return found[0]
