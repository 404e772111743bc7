"""Cast: who plays the roles; the acts ask for players and cannot tell where they run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rlhf.flow.text import PromptBatch
from rlhf.roles.ports import (
    LanguageModelPort,
    PolicyPort,
    RankingPort,
    RewardPort,
    SamplerPort,
    ValuePort,
)


class Cast(Protocol):
    """Gives each act its players; a role's processes change parts, they are not started anew."""

    def pupil(self, path: Path, total_updates: int) -> PolicyPort:
        """Return a policy that will imitate."""
        ...

    def apprentice(self, path: Path, total_updates: int, *, trained: bool) -> RankingPort:
        """Return a reward model that will learn; `trained` if its head already is."""
        ...

    def policy(self, path: Path) -> PolicyPort:
        """Return the policy that PPO improves."""
        ...

    def reference(self, path: Path) -> LanguageModelPort:
        """Return the frozen reference; ask after the policy, which may answer for it."""
        ...

    def judge(self, model: Path | None, policy: Path) -> RewardPort:
        """Return the reward: a model, the configured function, or both."""
        ...

    def value(self, path: Path, *, trained: bool) -> ValuePort:
        """Return the value model; without a trained head it starts at zero everywhere."""
        ...

    def writer(self, path: Path) -> SamplerPort:
        """Return a frozen policy that answers prompts."""
        ...

    def settle_precision(self, path: Path, texts: PromptBatch) -> str:
        """Decide what engine.precision=auto is, by the model and some texts; return it and why."""
        ...
