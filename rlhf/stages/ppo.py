"""The PPO stage, told as Ouyang et al. 2022 (section 3.5): write, judge, compare, learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import Eventually, settle
from rlhf.flow.rollout import Experience, Piece, Rollout, Scores, joined
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.roles.no_value import NoValue
from rlhf.roles.ports import BaselinePort, Keeper, LanguageModelPort, PolicyPort, RewardPort
from rlhf.stages.experience import Terms, make_experience

Asked = tuple[Eventually[Tensor], Eventually[Tensor], Eventually[Tensor], Eventually[Tensor]]
"""Of a piece: logprobs_BR, ref_logprobs_BR, score_B and values_BR, on their way."""


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
        pieces = self.policy.generate(self.prompts(step), step)
        rollout, scores = self.score(pieces)
        experience, seen = make_experience(rollout, scores, self.terms)
        learned = self._learn(experience, step)
        self.terms.kl.observe(seen["objective/kl"], len(rollout))
        return Metrics.merge([seen, learned])

    def score(self, pieces: Iterable[Piece]) -> tuple[Rollout, Scores]:
        """Let every role judge each piece as it comes, while the policy writes the next.

        A function that scores sees the whole rollout, once.
        """
        asked = [(piece, self._ask(piece)) for piece in pieces]
        rollout = joined(piece for piece, _ in asked)
        by_function = self.reward.score_by_function(rollout)
        order = torch.cat([piece.rows_B for piece, _ in asked]).argsort()
        scores = Scores.concat([_settled(answers) for _, answers in asked]).select(order)
        return rollout, replace(scores, score_B=scores.score_B + settle(by_function))

    def _ask(self, piece: Piece) -> Asked:
        """Ask every role at once what it makes of a piece; the policy answers when it can.

        Where roles take turns on a device, this order moves the fewest: the policy is there
        already, and the value role, asked last, stays to learn.
        """
        return (
            self.policy.logprobs(piece),
            self.reference.logprobs(piece),
            self.reward.score_by_model(piece),
            self.value.values(piece),
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


def _settled(asked: Asked) -> Scores:
    logprobs_BR, ref_logprobs_BR, score_B, values_BR = (settle(answer) for answer in asked)
    return Scores(
        score_B=score_B,
        logprobs_BR=logprobs_BR,
        ref_logprobs_BR=ref_logprobs_BR,
        values_BR=values_BR,
    )
