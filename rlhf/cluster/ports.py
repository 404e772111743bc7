"""The ports of the roles, answered by groups of ranks.

Rows are dealt over ranks for scoring and sampling. For learning every rank gets the whole batch
and takes its share of each minibatch, so minibatches are the same on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rlhf.algo.minibatch import shares
from rlhf.cluster.group import Group, Then, on_every_rank, over_ranks, row_order
from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import Eventually, Promise, settle
from rlhf.flow.rollout import Experience, Piece, Rollout, joined
from rlhf.flow.tensors import TensorBatch, join_rows, placed
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings


class _Kept:
    """Saving and resuming, alike for every role that learns."""

    def __init__(self, group: Group) -> None:
        """Speak to a group whose ranks hold the role."""
        self.group = group

    def save(self, folder: Path) -> None:
        """Write the model as a plain Hugging Face folder."""
        settle(on_every_rank(self.group, "save", folder))

    def save_state(self, folder: Path) -> None:
        """Write weights and moments for a resume."""
        settle(on_every_rank(self.group, "save_state", folder))

    def load_state(self, folder: Path) -> None:
        """Take up what `save_state` wrote."""
        settle(on_every_rank(self.group, "load_state", folder))


def _joined(group: Group, method: str, batch: TensorBatch, lengths_B: Tensor) -> Promise[Tensor]:
    order = row_order(lengths_B, group.size)
    answers = over_ranks(group, method, batch, lengths_B)
    return Then(answers, lambda parts: join_rows(parts)[order])


class GroupPolicy(_Kept):
    """PolicyPort over a group."""

    def generate(self, prompts: PromptBatch, step: int) -> Iterator[Piece]:
        """Answer the prompts; what the ranks give at a time is one piece."""
        rows = shares(prompts.lengths_B, self.group.size)
        asked = [(prompts.select(share), step) for share in rows]
        for answers in self.group.stream("generate", asked):
            yield joined(replace(p, rows_B=rows[rank][p.rows_B]) for rank, p in answers)

    def sampler(self, prompts: PromptBatch) -> Promise[str]:
        """Return how it writes, and why so."""
        return on_every_rank(self.group, "sampler", prompts)

    def rehearse(self, prompts: PromptBatch) -> Promise[str]:
        """Try what PPO relies on."""
        return on_every_rank(self.group, "rehearse", prompts)

    def step_logprobs(self, rollout: Rollout, step: int) -> Promise[Tensor]:
        """Return logprobs_BR."""
        return GroupReference(self.group).step_logprobs(rollout, step)

    def improve(
        self, experience: Experience, step: int, texts: Demonstrations | None = None
    ) -> Promise[Metrics]:
        """Run the step's PPO epochs."""
        return on_every_rank(self.group, "improve", experience, step, texts)

    def imitate(self, batch: Demonstrations) -> Promise[Metrics]:
        """Take one SFT step."""
        return on_every_rank(self.group, "imitate", batch)

    def imitation_loss(self, batch: Demonstrations) -> Promise[Metrics]:
        """Measure the SFT loss."""
        return Then(over_ranks(self.group, "imitation_loss", batch, batch.lengths_B), Metrics.merge)


class GroupReference:
    """LanguageModelPort over a group; `reference_rows` asks a policy with its adapters off."""

    def __init__(self, group: Group, method: str = "step_rows") -> None:
        """Speak to a group whose ranks answer `method`."""
        self._group, self._method = group, method

    def step_logprobs(self, rollout: Rollout, step: int) -> Promise[Tensor]:
        """Return logprobs_BR."""
        calls = self._group.call(self._method, [(rollout, step)] * self._group.size)
        return Then(calls, lambda parts: placed(parts, len(rollout)))


class GroupReward:
    """RewardPort over a group: a model on all ranks, a function on the first, or their sum."""

    def __init__(
        self, group: Group, *, model_weight: float | None, function_weight: float | None
    ) -> None:
        """A weight of None leaves that part out."""
        self._group, self._model, self._function = group, model_weight, function_weight

    def score(self, rollout: Rollout) -> Tensor:
        """Return score_B."""
        asked = (self.score_by_model(rollout), self.score_by_function(rollout))
        return torch.stack([settle(score_B) for score_B in asked]).sum(0)

    def score_by_model(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return the model's weighted score_B; 0 without a model."""
        weight = self._model
        if weight is None:
            return torch.zeros(len(rollout))
        scores = _joined(self._group, "score_by_model", rollout, rollout.lengths_B)
        return Then(scores, lambda score_B: weight * score_B)

    def score_by_function(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return the function's weighted score_B; 0 without a function."""
        weight = self._function
        if weight is None:
            return torch.zeros(len(rollout))
        others = [(rollout.select([]),)] * (self._group.size - 1)
        calls = self._group.call("score_by_function", [(rollout,), *others])
        return Then(calls, lambda answers: weight * answers[0])


class GroupRanking(_Kept):
    """RankingPort over a group."""

    def rank(self, batch: Rankings) -> Promise[Metrics]:
        """Take one Bradley-Terry step."""
        return on_every_rank(self.group, "rank", batch)

    def answer_scores(self, batch: Rankings) -> Promise[Tensor]:
        """Return scores_BK."""
        return _joined(self.group, "answer_scores", batch, batch.lengths_BK.sum(1))

    def normalise(self, statistics: Mapping[str, float]) -> None:
        """Make scores with this mean and std have mean 0 and standard deviation 1."""
        settle(on_every_rank(self.group, "normalise", dict(statistics)))


class GroupValue(_Kept):
    """ValuePort over a group."""

    def values(self, rollout: Rollout) -> Promise[Tensor]:
        """Return values_BR."""
        return _joined(self.group, "values", rollout, rollout.lengths_B)

    def improve(self, experience: Experience, step: int) -> Promise[Metrics]:
        """Fit the returns over the step's epochs."""
        return on_every_rank(self.group, "improve", experience, step)
