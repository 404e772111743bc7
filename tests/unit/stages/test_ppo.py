"""The PPO step, over real roles: where it starts, what it asks for, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from rlhf.algo.kl import FixedKL
from rlhf.errors import TrainingError
from rlhf.flow.future import Ready
from rlhf.flow.rollout import Scores, joined
from rlhf.flow.text import PromptBatch
from rlhf.roles.policy import Policy
from rlhf.roles.reference import Reference
from rlhf.roles.remote import Remote
from rlhf.roles.reward import Reward
from rlhf.roles.reward_sum import RewardSum
from rlhf.roles.value import Value
from rlhf.runtime.group import Group
from rlhf.runtime.proxy import RoleProxy
from tests.specs import reward_mix


@dataclass
class Noted:
    """A group that notes when it is asked, and when its answer is waited for."""

    group: Group
    notes: list[tuple[str, str, str]]

    def __post_init__(self) -> None:
        self.name, self.size = self.group.name, self.group.size

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote) -> NotedAnswer:
        self.notes.append(("asked", self.name, method))
        return NotedAnswer(self, method, self.group.call(method, arguments, mark).result())

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote
    ) -> Iterator[list[tuple[int, Any]]]:
        """Yield the whole rollout in two chunks."""
        self.notes.append(("asked", self.name, method))
        (answers,) = self.group.stream(method, arguments, mark)
        ((rank, chunk),) = answers
        for number, rows in enumerate([[5, 0, 2], [1, 3, 4, 6, 7]]):
            self.notes.append(("piece", self.name, str(number)))
            yield [(rank, chunk.select(rows))]


@dataclass
class NotedAnswer:
    group: Noted
    method: str
    answers: list[Any]

    def result(self) -> list[Any]:
        self.group.notes.append(("waited", self.group.name, self.method))
        return self.answers


@pytest.fixture
def noted(ppo_of):
    """A stage whose groups note what they are asked, and the notes."""
    made, notes = ppo_of(), []
    group = {name: Noted(of, notes) for name, of in made.runtime._groups.items()}
    stage = replace(
        made.stage,
        policy=RoleProxy(group["policy"], Policy),
        reference=RoleProxy(group["reference"], Reference),
        reward=RewardSum(RoleProxy(group["reward"], Reward), made.stage.reward.mix),
        value=RoleProxy(group["value"], Value),
    )
    return stage, notes


def every_score(stage, written):
    """Ask every role about one rollout."""
    score_B, parts_BC = stage.reward.score(written)
    return Scores(
        score_B=score_B,
        parts_BC=parts_BC,
        logprobs_BR=stage.policy.step_logprobs(written, 0).result(),
        ref_logprobs_BR=stage.reference.step_logprobs(written, 0).result(),
        values_BR=stage.value.values(written).result(),
    )


def test_all_roles_are_asked_before_any_is_waited_for(noted):
    stage, notes = noted
    stage.step(0)
    writing, scoring, learning = notes[:1], notes[1:15], notes[15:]
    assert writing == [("asked", "policy", "generate")]
    # In this order roles that time-share a device move least.
    models, judges = ["policy", "reference"], ["reward", "value"]
    asked = [("piece", "0"), *[("asked", r) for r in judges]]
    asked += [("piece", "1"), *[("asked", r) for r in models + judges]]
    assert [(did, what if did == "piece" else role) for did, role, what in scoring[:8]] == asked
    waited = [*models, "reward", "reward", "value", "value"]
    assert [(did, role) for did, role, _ in scoring[8:]] == [("waited", r) for r in waited]
    assert [(did, role) for did, role, _ in learning] == [
        *[("asked", "value"), ("asked", "policy"), ("waited", "value"), ("waited", "policy")]
    ]


def test_scores_by_chunks_are_those_of_the_whole_each_in_its_row(noted, ppo_of):
    # correctness 55: which rows are scored together changes no score.
    stage, plain = noted[0], ppo_of().stage
    rollout, scores = stage.score(stage.prompts(0), 0)
    whole, wanted = plain.score(plain.prompts(0), 0)
    assert rollout.response_tokens() == whole.response_tokens()
    assert rollout.prompts == whole.prompts
    for name in ("score_B", "logprobs_BR", "ref_logprobs_BR", "values_BR"):
        got, other = getattr(scores, name), getattr(wanted, name)
        torch.testing.assert_close(got, other, rtol=0, atol=1e-5, msg=name)
        assert len(set(other.flatten().tolist())) > 7, name


def test_a_function_sees_the_whole_batch_once(noted, tmp_path):
    asked: list[tuple[object, ...]] = []

    class Reward:
        def score_batch(self, rollout):
            asked.append(rollout.prompts)
            return Ready(torch.arange(8.0)[:, None])

    reward = RewardSum(Reward(), reward_mix(function="own.py:f"))
    stage = replace(noted[0], reward=reward)
    rollout, scores = stage.score(stage.prompts(0), 0)
    assert asked == [rollout.prompts]
    assert scores.score_B.tolist() == list(range(8))


def test_at_the_first_step_the_policy_is_the_reference(ppo_of):
    stage = ppo_of().stage
    rollout, scores = stage.score(stage.prompts(0), 0)
    assert torch.equal(scores.logprobs_BR, scores.ref_logprobs_BR)
    assert torch.allclose(
        scores.logprobs_BR[rollout.response_mask_BR],
        rollout.sampling_logprobs_BR[rollout.response_mask_BR],
        atol=1e-4,
    )
    report = stage.step(0)
    assert report["objective/kl"] == 0
    assert report["policy/ratio_first_max_error"] == 0
    assert stage.step(1)["objective/kl"] != 0


def test_a_step_reports_every_side_and_moves_both_learners(ppo_of):
    stage = ppo_of().stage
    written = joined(stage.policy.generate(stage.prompts(0), 0))
    before = every_score(stage, written)
    report = stage.step(0)
    after = every_score(stage, written)
    assert {
        "objective/scores",
        "objective/kl_coef",
        "completions/mean_length",
        "value/explained_variance",
        "loss/policy_avg",
        "loss/value_avg",
        "value/clipfrac_avg",
        "policy/clipfrac_avg",
    } <= set(report)
    assert not torch.equal(before.logprobs_BR, after.logprobs_BR)
    assert not torch.equal(before.values_BR, after.values_BR)
    assert torch.equal(before.ref_logprobs_BR, after.ref_logprobs_BR)
    assert torch.equal(before.score_B, after.score_B)


class Stranger(RoleProxy):
    """A policy whose sampler returns other log-probabilities than its own."""

    def generate(self, prompts, step):
        for chunk in super().__getattr__("generate")(prompts, step):
            told_BR = chunk.sampling_logprobs_BR * 1.5
            yield replace(chunk, sampling_logprobs_BR=told_BR)


def test_a_sampler_that_is_not_the_policy_ends_a_run_before_it_learns(ppo_of):
    stage = ppo_of().stage
    wrong = replace(stage, policy=Stranger(stage.policy.group, Policy))
    prompts = stage.prompts(0)
    written = joined(stage.policy.generate(prompts, 0))
    before = every_score(stage, written)
    with pytest.raises(TrainingError, match=r"the sampler \(continuous.*backend=padded"):
        next(wrong.steps(0))
    assert torch.equal(every_score(stage, written).logprobs_BR, before.logprobs_BR)
    next(stage.steps(0))
    weighed = ppo_of(ppo={"num_steps": 2, "importance_cap": 2.0}).stage
    next(replace(weighed, policy=Stranger(weighed.policy.group, Policy)).steps(0))


def test_a_step_depends_on_its_number_alone(ppo_of):
    assert ppo_of().stage.step(2).means() == ppo_of().stage.step(2).means()
    assert ppo_of().stage.step(2).means() != ppo_of().stage.step(1).means()


def test_while_the_value_warms_up_the_policy_waits(ppo_of):
    stage = ppo_of(ppo={"num_steps": 2, "value_warmup_steps": 1}).stage
    written = joined(stage.policy.generate(stage.prompts(0), 0))
    before = every_score(stage, written)
    report = stage.step(0)
    after = every_score(stage, written)
    assert "loss/policy_avg" not in report
    assert torch.equal(before.logprobs_BR, after.logprobs_BR)
    assert not torch.equal(before.values_BR, after.values_BR)


def test_the_adaptive_coefficient_is_observed_kept_and_taken_up(ppo_of):
    adaptive = {"num_steps": 4, "kl_target": 5.0, "kl_horizon": 10}
    stage = ppo_of(ppo=adaptive).stage
    start = stage.terms.kl.coef
    stage.step(0)
    assert stage.terms.kl.coef < start
    other = ppo_of(ppo=adaptive).stage
    other.load(stage.state())
    assert other.terms.kl.coef == stage.terms.kl.coef


def test_steps_go_from_the_first_to_the_last_and_roles_that_learn_are_saved(ppo_of):
    stage = ppo_of(ppo={"num_steps": 2, "num_epochs": 1}).stage
    assert stage.total_steps == 2
    assert len(list(stage.steps(1))) == 1
    assert set(stage.checkpointables()) == {"policy", "value"}


def test_advantages_without_values_start_no_value_role(ppo_of):
    stage = ppo_of(
        ppo={"num_steps": 2, "advantage_estimator": "rloo", "samples_per_prompt": 4}
    ).stage
    report = stage.step(0)
    assert set(stage.checkpointables()) == {"policy"}
    assert report["policy/ratio_first_max_error"] == 0
    assert not any(name.startswith(("value", "value/clip", "loss/value")) for name in report)


def test_the_scale_of_scores_is_kept_and_taken_up(ppo_of):
    # correctness 66: running moments are in the checkpoint.
    asked = {"num_steps": 2, "scale_scores": True}
    stage, other = ppo_of(ppo=asked).stage, ppo_of(ppo=asked).stage
    stage.step(0)
    other.load(stage.state())
    assert other.terms.scale.state() == stage.terms.scale.state()
    assert stage.terms.scale.state()["count"] == 8


class Listener(FixedKL):
    """A constant coefficient that records the KL it is given."""

    def __init__(self, coef: float) -> None:
        super().__init__(coef)
        self.told: list[tuple[float, int]] = []

    def observe(self, kl: float, num_responses: int) -> None:
        self.told.append((kl, num_responses))


def test_the_controller_is_told_the_kl_of_a_whole_response(ppo_of):
    # correctness 35: summed over a response's tokens, mean over responses; once a step.
    stage, listener = ppo_of().stage, Listener(0.1)
    stage = replace(stage, terms=replace(stage.terms, kl=listener))
    reports = [stage.step(0), stage.step(1)]
    assert listener.told == [(report["objective/kl"], 8) for report in reports]
    assert reports[1]["objective/kl"] != reports[1]["objective/kl_per_token"]


def test_every_step_answers_prompts_of_its_own(ppo_of):
    stage, asked = ppo_of().stage, []
    give = stage.prompts

    def prompts(step: int) -> PromptBatch:
        asked.append(step)
        return give(step)

    list(replace(stage, prompts=prompts).steps(2))
    assert asked == [2, 3]
