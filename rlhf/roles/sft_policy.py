"""SFTPolicy: the language model that learns from demonstrations."""

from __future__ import annotations

from rlhf.engine.base import TrainableEngine
from rlhf.flow.metrics import Metrics
from rlhf.flow.text import Demonstrations
from rlhf.generation.sampling import Sampling
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner
from rlhf.roles.passes import Settings
from rlhf.roles.remote import LEARN, Remote, metrics, remote
from rlhf.roles.sampler import Sampler
from rlhf.roles.saver import ModelSaver
from rlhf.roles.trained import Trained


class SFTPolicy(Trained, Sampler):
    """A language model that generates, and learns from demonstrations."""

    def __init__(
        self,
        engine: TrainableEngine,
        learner: Learner,
        saver: ModelSaver,
        sampling: Sampling,
        settings: Settings,
    ) -> None:
        """Keep the trainable engine and what it needs to learn, to generate and to be saved."""
        super().__init__(engine, sampling, settings)
        self.learner, self.saver = learner, saver
        self._imitation = Imitation(engine, settings.max_tokens)

    @remote(LEARN)
    def imitate(self, batch: Demonstrations) -> Metrics:
        """Take one SFT step on a whole minibatch that every rank holds."""
        update = self.learner.update(self._imitation.objective(batch))
        return Metrics.of(
            {
                "loss/train": update.loss,
                "grad_norm": update.grad_norm,
                "lr": update.lr,
                "num_tokens": float(batch.lengths_B.sum()),
            }
        )

    @remote(Remote(deal="rows", join=metrics))
    def imitation_loss(self, batch: Demonstrations) -> Metrics:
        """Return the SFT loss of this rank's rows as loss/validation, without learning."""
        return self._imitation.loss(batch)
