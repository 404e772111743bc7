"""The PPO stage of Ouyang et al. 2022 (section 3.5): generate, score, compare, learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from rlhf.catalog import stages as catalog
from rlhf.errors import TrainingError
from rlhf.flow.future import Future
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, RolloutChunk, Scores, joined
from rlhf.flow.tensors import in_row_order
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.roles.no_value import NoValue
from rlhf.roles.ports import BaselinePort, Checkpointable, LanguageModelPort, PolicyPort
from rlhf.roles.reward_sum import RewardSum
from rlhf.stages.experience import (
    Terms,
    is_near,
    make_experience,
    sampler_differs,
    source_figures,
)
from rlhf.stages.finite import check_finite

TwoFutures = tuple[Future[Tensor], Future[Tensor]]


def _no_texts(step: int) -> Demonstrations | None:
    """Return None: no texts for a PTX loss."""
    return None


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Alternates generation, scoring and clipped updates over the roles."""

    prompts: Callable[[int], PromptBatch]
    """Gives each step its prompts."""
    policy: PolicyPort
    reference: LanguageModelPort
    reward: RewardSum
    value: BaselinePort
    terms: Terms
    """The terms that turn scores into advantages; KL controller and scale adapt every step."""
    texts: Callable[[int], Demonstrations | None] = _no_texts
    """Gives each step the texts of its PTX loss, a row a response."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return catalog.PPO.name

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.terms.config.num_steps

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report a step; the caller logs and saves."""
        for step in range(first_step, self.total_steps):
            yield self.step(step, is_first=step == first_step)

    def step(self, step: int, *, is_first: bool = False) -> Metrics:
        """Run one step: generate, score, learn.

        Args:
            step: The step's number, from 0.
            is_first: Whether it is this process's first step: the sampler is then checked to be
                the policy before anything is learned.
        """
        prompts = self.prompts(step)
        rollout, scores = self.score(prompts, step)
        check_finite(rollout, scores, self.reward.mix.names, step)
        experience, seen = make_experience(rollout, scores, self.terms)
        self._check_sampler(seen, prompts, is_first=is_first)
        learned = self._learn(experience, step)
        self.terms.kl.observe(seen["objective/kl"], len(rollout))
        said = source_figures(self.reward.mix.names, scores.parts_BC)
        return Metrics.merge([seen, said, learned])

    def _check_sampler(self, seen: Metrics, prompts: PromptBatch, *, is_first: bool) -> None:
        if is_first and not is_near(seen, self.terms.config):
            raise TrainingError(sampler_differs(seen, self.policy.chosen_backend(prompts).result()))

    def score(self, prompts: PromptBatch, step: int) -> tuple[Rollout, Scores]:
        """Generate responses; reward model and value score each chunk while the next is generated.

        Policy, reference and reward functions get the whole rollout, once.
        """
        chunks: list[RolloutChunk] = []
        scored: list[TwoFutures] = []
        logprobs: TwoFutures | None = None
        for chunk in self.policy.generate(prompts, step):
            chunks.append(chunk)
            if sum(map(len, chunks)) == len(prompts):
                logprobs = self._ask_language_models(joined(chunks), step)
            scored.append((self.reward.score_rows(chunk), self.value.values(chunk)))
        assert logprobs is not None
        rollout = joined(chunks)
        by_batch = self.reward.score_batch(rollout)
        logprobs_BR, ref_logprobs_BR = (future.result() for future in logprobs)
        rows = [chunk.rows_B for chunk in chunks]
        by_rows_BC, values_BR = (
            in_row_order([future.result() for future in futures], rows)
            for futures in zip(*scored, strict=True)
        )
        parts_BC = self.reward.mix.parts(by_rows_BC, by_batch.result())
        return rollout, Scores(
            score_B=self.reward.mix.total(parts_BC),
            parts_BC=parts_BC,
            logprobs_BR=logprobs_BR,
            ref_logprobs_BR=ref_logprobs_BR,
            values_BR=values_BR,
        )

    def _ask_language_models(self, rollout: Rollout, step: int) -> TwoFutures:
        """Start the log-probabilities of policy and reference, at the same time.

        This comes before reward and value score the last chunk: where roles time-share a device,
        the policy is still on it, and the value role, called last, stays on it to learn.
        """
        return (
            self.policy.step_logprobs(rollout, step),
            self.reference.step_logprobs(rollout, step),
        )

    def _learn(self, experience: Experience, step: int) -> Metrics:
        """Train value and policy on the experience, at the same time."""
        asked = (
            self.value.improve(experience, step),
            self.policy.improve(experience, step, self.texts(step)),
        )
        return Metrics.merge(report.result() for report in asked)

    def checkpointables(self) -> dict[str, Checkpointable]:
        """Return the roles whose weights make up a checkpoint."""
        learned = (
            {} if isinstance(self.value, NoValue) else {"value": cast("Checkpointable", self.value)}
        )
        return {"policy": self.policy, **learned}

    def state(self) -> dict[str, object]:
        """Return what a resume needs besides the roles, as JSON can keep it."""
        return {"kl": self.terms.kl.state(), "scale": self.terms.scale.state()}

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `state` returned."""
        self.terms.kl.load(state["kl"])  # type: ignore[arg-type]
        self.terms.scale.load(state["scale"])  # type: ignore[arg-type]
