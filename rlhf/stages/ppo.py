"""The PPO stage, told as Ouyang et al. 2022 (section 3.5): write, judge, compare, learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rlhf.algo.kl import KLController
from rlhf.config.stages import PPOConfig
from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import settle
from rlhf.flow.rollout import Experience, Rollout, Scores
from rlhf.flow.text import PromptBatch
from rlhf.roles.ports import Keeper, LanguageModelPort, PolicyPort, RewardPort, ValuePort
from rlhf.stages.experience import make_experience


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Alternates generation, scoring and clipped updates over the roles."""

    prompts: Callable[[int], PromptBatch]
    """Gives each step its prompts."""
    policy: PolicyPort
    reference: LanguageModelPort
    reward: RewardPort
    value: ValuePort
    kl: KLController
    config: PPOConfig

    @property
    def name(self) -> str:
        """The stage's name."""
        return "ppo"

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.config.num_steps

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report a step; the caller logs and saves."""
        for step in range(first_step, self.total_steps):
            yield self.step(step)

    def step(self, step: int) -> Metrics:
        """Take one turn of the loop."""
        rollout = settle(self.policy.generate(self.prompts(step), step))
        scores = self.score(rollout)
        experience, seen = make_experience(rollout, scores, self.kl.coef, self.config)
        learned = self._learn(experience, step)
        self.kl.observe(seen["objective/kl"], len(rollout))
        return Metrics.merge([seen, learned])

    def score(self, rollout: Rollout) -> Scores:
        """Ask every role at once what it makes of the rollout."""
        asked = (
            self.reward.score(rollout),
            self.policy.logprobs(rollout),
            self.reference.logprobs(rollout),
            self.value.values(rollout),
        )
        score_B, logprobs_BR, ref_logprobs_BR, values_BR = (settle(answer) for answer in asked)
        return Scores(
            score_B=score_B,
            logprobs_BR=logprobs_BR,
            ref_logprobs_BR=ref_logprobs_BR,
            values_BR=values_BR,
        )

    def _learn(self, experience: Experience, step: int) -> Metrics:
        """Let value and policy learn from the experience at the same time."""
        asked = (self.value.improve(experience, step), self.policy.improve(experience, step))
        return Metrics.merge(settle(report) for report in asked)

    def keepers(self) -> dict[str, Keeper]:
        """Return the roles whose weights make up a checkpoint."""
        return {"policy": self.policy, "value": self.value}

    def state(self) -> dict[str, object]:
        """Return what else a resume needs."""
        return {"kl": self.kl.state()}

    def load(self, state: Mapping[str, object]) -> None:
        """Take up what `state` gave."""
        self.kl.load(state["kl"])  # type: ignore[arg-type]
