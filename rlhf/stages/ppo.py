"""The PPO stage, told as Ouyang et al. 2022 (section 3.5): write, judge, compare, learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import settle
from rlhf.flow.rollout import Experience, Rollout, Scores
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.roles.no_value import NoValue
from rlhf.roles.ports import BaselinePort, Keeper, LanguageModelPort, PolicyPort, RewardPort
from rlhf.stages.experience import Terms, make_experience


def _no_texts(step: int) -> Demonstrations | None:
    """Give no texts."""
    return None


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Alternates generation, scoring and clipped updates over the roles."""

    prompts: Callable[[int], PromptBatch]
    """Gives each step its prompts."""
    policy: PolicyPort
    reference: LanguageModelPort
    reward: RewardPort
    value: BaselinePort
    terms: Terms
    """What turns scores into advantages, and learns from each step."""
    texts: Callable[[int], Demonstrations | None] = _no_texts
    """Gives each step the texts of its PTX loss, a row a response."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return "ppo"

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.terms.config.num_steps

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report a step; the caller logs and saves."""
        for step in range(first_step, self.total_steps):
            yield self.step(step)

    def step(self, step: int) -> Metrics:
        """Take one turn of the loop."""
        rollout = settle(self.policy.generate(self.prompts(step), step))
        scores = self.score(rollout)
        experience, seen = make_experience(rollout, scores, self.terms)
        learned = self._learn(experience, step)
        self.terms.kl.observe(seen["objective/kl"], len(rollout))
        return Metrics.merge([seen, learned])

    def score(self, rollout: Rollout) -> Scores:
        """Ask every role at once what it makes of the rollout.

        Where roles take turns on a device, this order moves the fewest: the policy is there
        already, and the value role, asked last, stays to learn.
        """
        asked = (
            self.policy.logprobs(rollout),
            self.reference.logprobs(rollout),
            self.reward.score(rollout),
            self.value.values(rollout),
        )
        logprobs_BR, ref_logprobs_BR, score_B, values_BR = (settle(answer) for answer in asked)
        return Scores(
            score_B=score_B,
            logprobs_BR=logprobs_BR,
            ref_logprobs_BR=ref_logprobs_BR,
            values_BR=values_BR,
        )

    def _learn(self, experience: Experience, step: int) -> Metrics:
        """Let value and policy learn from the experience at the same time."""
        asked = (
            self.value.improve(experience, step),
            self.policy.improve(experience, step, self.texts(step)),
        )
        return Metrics.merge(settle(report) for report in asked)

    def keepers(self) -> dict[str, Keeper]:
        """Return the roles whose weights make up a checkpoint."""
        learned = {} if isinstance(self.value, NoValue) else {"value": cast("Keeper", self.value)}
        return {"policy": self.policy, **learned}

    def state(self) -> dict[str, object]:
        """Return what else a resume needs."""
        return {"kl": self.terms.kl.state(), "scale": self.terms.scale.state()}

    def load(self, state: Mapping[str, object]) -> None:
        """Take up what `state` gave."""
        self.terms.kl.load(state["kl"])  # type: ignore[arg-type]
        self.terms.scale.load(state["scale"])  # type: ignore[arg-type]
