"""Where each role runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.catalog.stages import RoleName
from rlhf.config.section import Section

Offload = Literal["none", "optimizer", "weights"]


class RolePlacement(Section):
    """The processes of one role: a row of the placement table."""

    ranks: int = Field(default=1, gt=0, le=100_000)
    """Processes; each holds a shard of the role's model by its ZeRO stage."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs each of its ranks asks for; cluster.gpus_per_rank when not given."""
    colocate_with: RoleName | None = None
    """Rank r sits where rank r of that role sits, on the same node and the same GPU."""
    zero_stage: Literal[0, 1, 2, 3] | None = None
    """The role's own stage; engine.zero_stage when not given."""
    offload: Offload = "none"
    """Held in host memory: optimizer, its states and fp32 weights, updated there (ZeRO-Offload; Ren
    et al. 2021; stage 1 or higher); weights, the shards of stage 3 too."""

    def stage(self, otherwise: int) -> int:
        """Return the role's own ZeRO stage, or the one given for all roles."""
        return otherwise if self.zero_stage is None else self.zero_stage


class ClusterConfig(Section):
    """Ray processes a role, or everything in this process."""

    backend: Literal["ray", "in_process"] = "ray"
    """ray: one actor a rank. in_process: all roles here, one rank each; for tests and debugging."""
    address: str = "auto"
    """auto: RAY_ADDRESS if set (as under `ray job submit`), else an own local cluster. local: an
    own local cluster. Anything else: the address of a running cluster."""
    policy: RolePlacement = RolePlacement()
    """The policy's processes; also train SFT."""
    reference: RolePlacement = RolePlacement()
    """The reference's processes; none are started with LoRA."""
    reward: RolePlacement = RolePlacement()
    """The reward model's processes; also train it."""
    value: RolePlacement = RolePlacement()
    """The value model's processes."""
    gpus_per_rank: float = Field(default=0.0, ge=0)
    """GPUs a rank asks for; a fraction lets roles share one. 0 runs on CPU."""
    residency: Literal["auto", "all", "in_turn"] = "auto"
    """Roles that sit together: all keep weights and optimizer states on the device, or in_turn only
    the one at work does, the others wait in host memory. auto: in_turn on a GPU."""
    oversubscribe: bool = False
    """Allow a role more ranks than the cluster has cores."""
    timeout_s: float = Field(default=1800.0, gt=0)
    """Longest a start, a call or a collective may take, in seconds, before it is an error."""

    hang_s: float | None = Field(default=300.0, ge=5)
    """Longest a rank may give no sign of life (it was stopped, or its node is out of reach or of
    memory), in seconds; a rank that works gives one even within a long call. None: no limit."""
    max_restarts: int = Field(default=0, ge=0, le=10_000)
    """How often the command starts again by itself, from the last checkpoint, after a rank or the
    cluster died or hung; it stops sooner after three such ends with no checkpoint in between."""

    def table(self) -> dict[RoleName, RolePlacement]:
        """Return every role's row."""
        return {
            "policy": self.policy,
            "reference": self.reference,
            "reward": self.reward,
            "value": self.value,
        }

    def placement(self, role: RoleName) -> RolePlacement:
        """Return one role's processes."""
        return self.table()[role]

    @property
    def wants_gpus(self) -> bool:
        """Whether any rank asks for a GPU."""
        return bool(self.gpus_per_rank) or any(row.gpus for row in self.table().values())
