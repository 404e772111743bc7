"""The SFT stage: learn from demonstrations, keep the model with the lowest validation loss."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.catalog import stages as catalog
from rlhf.flow.metrics import Metrics
from rlhf.flow.text import Demonstrations
from rlhf.roles.ports import Checkpointable, SFTPolicyPort
from rlhf.stages.epochs import Epochs


@dataclass(frozen=True, kw_only=True)
class SFT(Epochs[Demonstrations]):
    """Next-token loss on the answers (Ouyang et al. 2022, section 3.1)."""

    policy: SFTPolicyPort

    @property
    def name(self) -> str:
        """The stage's name."""
        return catalog.SFT.name

    @property
    def _learner(self) -> tuple[str, Checkpointable]:
        """The SFT policy."""
        return "policy", self.policy

    def learn(self, batch: Demonstrations) -> Metrics:
        """Take one optimizer step."""
        return self.policy.imitate(batch).result()

    def validate(self) -> Metrics:
        """Return the loss on held-out demonstrations."""
        return self.policy.imitation_loss(self.validation).result()
