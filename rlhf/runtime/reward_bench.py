"""RewardBench: one rank of the reward role, as the sources of the reward are built on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.engine.base import TrainableEngine
from rlhf.models.scalar_model import ScalarModel
from rlhf.roles.reward import ModelScorer
from rlhf.runtime.context import RoleContext, for_model

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer


@dataclass(frozen=True)
class RewardBench:
    """One rank, as the sources of the reward see it."""

    context: RoleContext
    policy_tokenizer: TextTokenizer

    @property
    def timeout_s(self) -> float:
        """Longest that a function may take."""
        return self.context.experiment.reward.timeout_s

    def model_scorer(self, path: str) -> ModelScorer:
        """Hold a reward model that does not learn."""
        folder = Path(path)
        context = for_model(self.context, folder)
        engine = context.engine(ScalarModel(context.scalar_model(folder, "trained")))
        return model_scorer(context, folder, engine, self.policy_tokenizer)


def model_scorer(
    context: RoleContext,
    path: Path,
    engine: TrainableEngine,
    policy_tokenizer: TextTokenizer | None,
) -> ModelScorer:
    """Score the policy's ids as they are, unless the reward model reads other tokens."""
    own = load_tokenizer(str(path))
    if policy_tokenizer is not None and fingerprint(own) == fingerprint(policy_tokenizer):
        policy_tokenizer = None
    max_tokens = context.experiment.engine.max_tokens_per_microbatch
    return ModelScorer(engine, own, policy_tokenizer, max_tokens=max_tokens)
