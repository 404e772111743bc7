"""How a sweep runs its trials."""

from __future__ import annotations

from pydantic import Field

from rlhf.config.section import Section


class SweepConfig(Section):
    """`rlhf COMMAND -m ...`: one trial a combination of settings."""

    parallel: int = Field(default=1, gt=0, le=10_000)
    """Trials at a time; each is a process of its own on the one Ray cluster of the sweep."""
    max_kl: float | None = Field(default=None, gt=0)
    """A trial whose mean KL(policy || reference), in nats a response, is above this for three steps
    in a row is cut; a run that is no trial ends then, too."""
