"""Speed: seconds of each phase of a PPO step, by what bounds it: products, bandwidth, links.

Every row is taken at its longest, so a real run is faster where responses end early.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.catalog.stages import PPO
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.planning.fit import Fit, by_role, shares_time
from rlhf.planning.hardware import Hardware
from rlhf.planning.memory import RoleMemory
from rlhf.planning.shapes import longest_row, rows_a_rank

HOST_BYTES_S = 25e9
"""Between a GPU and its node's memory, one direction (PCIe 4 x16, as a rule reached)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """Shares of a device's rates that the phases reach."""

    score: float
    """Share of the matrix rate that forward passes reach."""
    learn: float
    """Share of the matrix rate that updates reach."""
    write: float
    """Share of bandwidth and matrix rate that steps of generation reach."""
    link: float
    """Share of a link's bandwidth that collectives reach."""


ON_GPU = Efficiency(score=0.45, learn=0.40, write=0.50, link=0.70)
"""Given: usual figures of dense models of 1B weights and more."""
ON_CPU = Efficiency(score=0.85, learn=1.0, write=0.30, link=0.50)
"""Estimated from bench/results (scaling, rollout), over a measured product; link is assumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds of one PPO step by phase."""

    generate: float
    score: float
    learn: float
    offload: float
    """Seconds to move roles that time-share a device to host memory and back."""
    num_tokens: int
    """Prompt and response tokens of one step."""
    num_steps: int

    @property
    def step(self) -> float:
        """Seconds of a whole step."""
        return self.generate + self.score + self.learn + self.offload

    @property
    def tokens_per_second(self) -> float:
        """Tokens of a step over its seconds."""
        return self.num_tokens / self.step

    @property
    def hours(self) -> float:
        """Hours of all steps."""
        return self.num_steps * self.step / 3600


def speed(fit: Fit) -> Speed:
    """Return how long a PPO step takes, phase by phase."""
    experiment, hardware = fit.experiment, fit.hardware
    roles = by_role(m for m in fit.memories if m.shape.stage is PPO)
    rates = Rates(hardware)
    policy = roles["policy"][0]
    scored: dict[RoleName, float] = {
        role: sum(rates.score(memory, experiment) for memory in of) for role, of in roles.items()
    }
    if "reference" not in roles:
        scored["policy"] *= 2  # with adapters it is the reference too
    learned: dict[RoleName, float] = {
        r: rates.learn(m, experiment) for r, (m, *_) in roles.items() if m.shape.num_trainable
    }
    ppo = experiment.ppo
    return Speed(
        generate=rates.generate(policy, experiment),
        score=_together(scored, fit),
        learn=_together(learned, fit),
        offload=_offloader(fit, roles),
        num_tokens=ppo.rollout_batch_size * ppo.samples_per_prompt * longest_row(experiment),
        num_steps=ppo.num_steps,
    )


class Rates:
    """Operations and bytes that one rank handles a second."""

    def __init__(self, hardware: Hardware) -> None:
        """Read the rates off the hardware; a link between nodes is as slow as the network."""
        kind = hardware.kind
        self.efficiency = ON_GPU if kind.is_gpu else ON_CPU
        self._products = kind.tflops * 1e12
        self._memory = kind.memory_gb_s * 1e9
        slowest = kind.link_gb_s if hardware.nodes == 1 else min(kind.link_gb_s, kind.network_gb_s)
        self._link = slowest * 1e9 * self.efficiency.link

    def generate(self, memory: RoleMemory, experiment: Experiment) -> float:
        """Return the seconds of a rollout: prompts read, then steps of one token a row.

        A step reads all weights, and the keys and values there are; and multiplies 2 P a row.
        """
        ppo, model, model_shape = experiment.ppo, memory.model, memory.shape.model_shape
        prompt, response = experiment.data.max_prompt_length, experiment.generation.max_new_tokens
        prompts = rows_a_rank(ppo.rollout_batch_size, model.ranks)
        rows = rows_a_rank(ppo.rollout_batch_size * ppo.samples_per_prompt, model.ranks)
        slots = min(memory.num_slots, rows)
        cached = 2 * model_shape.num_layers * model_shape.key_width * model.number_bytes
        read = model.number_bytes * model.num_weights + slots * (prompt + response / 2) * cached
        products = 2 * model.num_weights * slots
        step = max(read / self._memory, products / self._products) / self.efficiency.write
        reading = 2 * model.num_weights * prompts * prompt / self._products / self.efficiency.score
        copied = memory.copy * (1 - 1 / model.ranks) / self._link
        return copied + reading + -(-rows // slots) * response * step

    def score(self, memory: RoleMemory, experiment: Experiment) -> float:
        """Return the seconds of a forward pass over a step's rows: 2 P a token."""
        ppo, model = experiment.ppo, memory.model
        rows = rows_a_rank(ppo.rollout_batch_size * ppo.samples_per_prompt, model.ranks)
        products = 2 * model.num_weights * rows * longest_row(experiment)
        passes = -(-rows * longest_row(experiment) // experiment.engine.max_tokens_per_microbatch)
        return products / self._products / self.efficiency.score + passes * self._gather(memory)

    def learn(self, memory: RoleMemory, experiment: Experiment) -> float:
        """Return the seconds of all epochs: 6 P a token, 2 P more to recompute blocks.

        Frozen weights need no gradient of their own, 2 P less.
        """
        ppo, model = experiment.ppo, memory.model
        updates = ppo.num_epochs * (
            ppo.rollout_batch_size * ppo.samples_per_prompt // ppo.minibatch_size
        )
        rows = rows_a_rank(ppo.minibatch_size, model.ranks)
        each = 4 if model.num_trainable < model.num_weights else 6
        each += 2 if experiment.engine.gradient_checkpointing else 0
        tokens = rows * longest_row(experiment)
        products = each * model.num_weights * tokens / self._products / self.efficiency.learn
        passes = max(1, -(-tokens // experiment.engine.max_tokens_per_microbatch))
        return updates * (products + self._exchange(memory, passes))

    def _gather(self, memory: RoleMemory) -> float:
        """Return the seconds in which stage 3 gathers all weights once."""
        model = memory.model
        if model.stage < 3:
            return 0.0
        return model.number_bytes * model.num_weights * (1 - 1 / model.ranks) / self._link

    def _exchange(self, memory: RoleMemory, passes: int) -> float:
        """Return the seconds of an update's collectives.

        Stages 0 and 1 reduce and spread once an update (2 L numbers), stage 2 reduces every
        microbatch, stage 3 gathers weights twice a microbatch besides.
        """
        model = memory.model
        once = model.number_bytes * model.num_trainable * (1 - 1 / model.ranks) / self._link
        if model.stage < 2:
            return 2 * once
        if model.stage == 2:
            return (passes + 1) * once
        return passes * (once + 2 * self._gather(memory))


def _together(seconds: dict[RoleName, float], fit: Fit) -> float:
    """Return the seconds until all are done: roles on one device one after another."""
    if not fit.hardware.kind.is_gpu:
        return sum(seconds.values())
    return max(sum(seconds.get(role, 0.0) for role in group) for group in fit.groups[PPO])


def _offloader(fit: Fit, roles: dict[RoleName, list[RoleMemory]]) -> float:
    """Return the seconds of offload and onload under time-sharing: once to score, once to learn."""
    if not shares_time(fit.experiment, is_gpu=fit.hardware.kind.is_gpu):
        return 0.0
    moves = {role: 2 if m.shape.num_trainable else 1 for role, (m, *_) in roles.items()}
    resting = {role: sum(m.resting for m in of) for role, of in roles.items()}
    busiest = 0.0
    for group in fit.groups[PPO]:
        if len(+group) > 1:
            bytes_moved = sum(2 * moves[r] * group[r] * resting[r] for r in group)
            busiest = max(busiest, bytes_moved / HOST_BYTES_S)
    return busiest
