"""The SFT stage: imitate demonstrations, keep the model that imitates unseen ones best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rlhf.config.stages import SFTConfig
from rlhf.data.stream import Stream
from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import settle
from rlhf.flow.text import Demonstrations
from rlhf.roles.ports import Keeper, PolicyPort
from rlhf.stages.best import Best
from rlhf.stages.epochs import num_steps


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Next-token loss on the answers (Ouyang et al. 2022, section 3.1)."""

    policy: PolicyPort
    train: Stream[Demonstrations]
    validation: Demonstrations
    best: Best
    config: SFTConfig

    @property
    def name(self) -> str:
        """The stage's name."""
        return "sft"

    @property
    def total_steps(self) -> int:
        """Optimizer steps without early stopping."""
        return num_steps(self.config.num_epochs, self.train)

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report an optimizer step, until done or patience runs out."""
        for step in range(first_step, self.total_steps):
            if self.best.is_over:
                return
            yield self.step(step)

    def step(self, step: int) -> Metrics:
        """Take one optimizer step, and validate when it is time."""
        learned = settle(self.policy.imitate(self.train.batch(step)))
        done = step + 1
        if done % self.config.validate_every and done < self.total_steps:
            return learned
        return Metrics.merge([learned, self._validate(learned["loss/train"])])

    def _validate(self, train_loss: float) -> Metrics:
        """Measure the validation loss; without validation rows the training loss stands in."""
        if not len(self.validation):
            self.best.observe(train_loss, self.policy)
            return Metrics()
        seen = settle(self.policy.imitation_loss(self.validation))
        self.best.observe(seen["loss/validation"], self.policy)
        return seen

    def keepers(self) -> dict[str, Keeper]:
        """Return the roles whose weights make up a checkpoint."""
        return {"policy": self.policy}

    def state(self) -> dict[str, object]:
        """Return what else a resume needs."""
        return self.best.state()

    def load(self, state: Mapping[str, object]) -> None:
        """Take up what `state` gave."""
        self.best.load(state)
