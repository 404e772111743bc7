"""Evaluation: two policies' answers to held-out prompts, compared by a judge."""

from __future__ import annotations

from pathlib import Path

from rlhf.checkpoint.artifact import inputs_fingerprint
from rlhf.checkpoint.files import write_json
from rlhf.commands.session import opened, reported
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.evaluation.compare import answer, compare
from rlhf.evaluation.judges import Judge, load_judge
from rlhf.models.weights import check_weights
from rlhf.observe.files import EVALUATION, read_object
from rlhf.runtime.reach import check_reach
from rlhf.runtime.specs import SamplerSpec
from rlhf.stages.inputs import held_out, load_inputs
from rlhf.stages.run import Run


def _judge(experiment: Experiment) -> Judge | None:
    judge = experiment.evaluation.judge
    return (
        load_judge(judge, experiment.seed, experiment.reward.timeout_s)
        if judge is not None
        else None
    )


def compare_policies(run: Run, candidate: Path, baseline: Path, judge: Judge) -> None:
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


def evaluate(command: str, experiment: Experiment) -> float | None:
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
    with opened(command, experiment, inputs, ["sft"]) as run:
        compare_policies(run, candidate, baseline, judge)
        return reported(run)
