"""Reward: scores whole responses, and (in the reward-model stage) learns to from rankings.

Axes: B rows, C sources of the reward, K ranked answers to one prompt, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from rlhf.algo.losses import centering_loss, ranking_loss
from rlhf.config.stages import RewardModelConfig
from rlhf.data.columns import options_of
from rlhf.data.retokenize import WrittenExchange, read_exchange
from rlhf.engine.base import Engine
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import TensorBatch, join_rows
from rlhf.flow.text import Rankings
from rlhf.models.scalar_model import ScalarModel
from rlhf.rewards.sources import Scorer
from rlhf.roles.learner import Learner, LossSum, Objective
from rlhf.roles.passes import map_rows, packed_rows
from rlhf.roles.remote import KEEP, LEARN, SCORE, Remote, remote
from rlhf.roles.remote import rows as row_answers
from rlhf.roles.saver import ModelSaver
from rlhf.roles.trained import Trained

if TYPE_CHECKING:
    from rlhf.data.template import Text
    from rlhf.data.tokenizer import TextTokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers(TensorBatch):
    """Whole texts to score, right-padded."""

    tokens_BT: Tensor
    lengths_B: Tensor


class ModelScorer:
    """Scores an exchange with a trained reward model, formatted as in its training."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: TextTokenizer,
        policy_tokenizer: TextTokenizer | None,
        *,
        max_tokens: int,
    ) -> None:
        """Keep the model; it reads exchanges as rlhf.data.retokenize makes them.

        Args:
            engine: Engine of a ScalarModel.
            tokenizer: The reward model's own tokenizer.
            policy_tokenizer: The policy's tokenizer, if it is another one.
            max_tokens: Most tokens of a forward pass, padding included.
        """
        self.engine, self.tokenizer, self.max_tokens = engine, tokenizer, max_tokens
        self._policy_tokenizer = policy_tokenizer

    def score(self, rollout: Rollout) -> Tensor:
        """Return score_B, float32, of this rank's rows."""
        return self.score_answers(self._answers(rollout))

    def score_answers(self, answers: Answers) -> Tensor:
        """Return score_B, float32."""
        return map_rows(
            self.engine, answers, answers.lengths_B, self.max_tokens, self.scores
        ).reshape(len(answers))

    def scores(self, answers: Answers) -> Tensor:
        """Return score_B of one microbatch, differentiable."""
        device = self.engine.world.device
        rows = packed_rows(self.engine, answers.tokens_BT, answers.lengths_B)
        positions_B = (rows.starts_B + answers.lengths_B - 1).to(device)
        rows = rows.to(device)
        return self.engine(rows.tokens_SW, positions_B, rows.position_ids_SW)

    def _answers(self, rollout: Rollout) -> Answers:
        """Return the exchanges as the reward model reads them."""
        if not len(rollout):
            return Answers(tokens_BT=rollout.tokens_BT, lengths_B=rollout.lengths_B)
        prompts, responses = rollout.prompt_tokens(), rollout.response_tokens()
        ids = [
            read_exchange(
                self.tokenizer,
                self._policy_tokenizer,
                WrittenExchange(
                    prompt=cast("Text", rollout.prompts[row]),
                    prompt_ids=prompts[row],
                    response_ids=responses[row],
                    finished=finished,
                    options=options_of(rollout.columns[row]),
                ),
            )
            for row, finished in enumerate(rollout.finished_B.tolist())
        ]
        return Answers(
            tokens_BT=join_rows([torch.tensor([row]) for row in ids]),
            lengths_B=torch.tensor([len(row) for row in ids]),
        )


class Reward:
    """Asks what the sources of the reward are on this rank; what they say is mixed elsewhere."""

    def __init__(self, by_rows: Sequence[Scorer], by_batch: Sequence[Scorer]) -> None:
        """Keep the scorers: of rows by themselves, and of whole batches."""
        self._by_rows, self._by_batch = by_rows, by_batch

    @remote(SCORE)
    def score_rows(self, rollout: Rollout) -> Tensor:
        """Return by_rows_BC, this rank's rows as each source scores them by themselves."""
        return _columns(self._by_rows, rollout)

    @remote(Remote(deal="first", phase="score", needs_device=False))
    def score_batch(self, rollout: Rollout) -> Tensor:
        """Return by_batch_BC, the whole batch as each source scores it, on one rank."""
        return _columns(self._by_batch, rollout)


def _columns(scorers: Sequence[Scorer], rollout: Rollout) -> Tensor:
    if not scorers:
        return torch.zeros(len(rollout), 0)
    return torch.stack([scorer.score(rollout) for scorer in scorers], 1)


class RewardTrainer(Trained):
    """A reward model in training."""

    def __init__(
        self, scorer: ModelScorer, learner: Learner, saver: ModelSaver, config: RewardModelConfig
    ) -> None:
        """Keep the engine of a ScalarModel, and what it needs to learn and to be saved."""
        self._scorer, self.learner, self.saver, self._config = scorer, learner, saver, config

    @remote(LEARN)
    def rank(self, batch: Rankings) -> Metrics:
        """Take one Bradley-Terry step on a whole minibatch that every rank holds."""
        objective = Objective(
            batch=batch,
            lengths_B=batch.lengths_BK,
            count=float(len(batch)),
            loss_of=self._loss,
        )
        update = self.learner.update(objective)
        means = update.means
        return Metrics.of(
            {
                "loss/train": update.loss,
                "accuracy/train": means["correct"] / max(means["pairs"], 1e-9),
                "margin": means["score_gap"] / max(means["pairs"], 1e-9),
                "grad_norm": update.grad_norm,
                "lr": update.lr,
                "num_tokens": float(batch.lengths_BK.sum()),
            }
        )

    def _loss(self, batch: Rankings) -> LossSum:
        present_BK = batch.lengths_BK > 0
        scores_N = self._scorer.scores(_flatten(batch))
        grid_BK = torch.zeros(present_BK.shape, dtype=scores_N.dtype, device=scores_N.device)
        present_BK = present_BK.to(scores_N.device)
        scores_BK = grid_BK.masked_scatter(present_BK, scores_N)
        margin_B = self._config.margin_coef * batch.margin_B.to(scores_N.device)
        result = ranking_loss(scores_BK, present_BK, margin_B)
        loss = result.loss
        if self._config.center_coef:
            loss = loss + self._config.center_coef * centering_loss(scores_BK, present_BK)
        sums = {"correct": result.correct, "pairs": result.pairs, "score_gap": result.score_gap}
        return LossSum(loss, sums)

    @remote(Remote(deal="rows", join=row_answers))
    def answer_scores(self, batch: Rankings) -> Tensor:
        """Return scores_BK, float32, of this rank's rows; 0 where an answer is absent."""
        present_BK = batch.lengths_BK > 0
        answers = _flatten(batch)
        scores_N = self._scorer.score_answers(answers)
        return torch.zeros(present_BK.shape).masked_scatter(present_BK, scores_N)

    @remote(KEEP)
    def normalize(self, statistics: Mapping[str, float]) -> None:
        """Make scores with this mean and std have mean 0 and standard deviation 1."""
        model = self._scorer.engine.module
        assert isinstance(model, ScalarModel)
        model.normalize(statistics["mean"], statistics["std"])


def _flatten(batch: Rankings) -> Answers:
    """Return all answers of all rows as one batch, one answer a row."""
    present_BK = batch.lengths_BK > 0
    return Answers(tokens_BT=batch.tokens_BKT[present_BK], lengths_B=batch.lengths_BK[present_BK])
