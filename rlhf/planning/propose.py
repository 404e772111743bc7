"""Propose: the placement and batch sizes that fit some hardware, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from rlhf.catalog.stages import REWARD_MODEL
from rlhf.config.cluster import RoleName, RolePlacement
from rlhf.config.experiment import Experiment
from rlhf.planning.fit import USABLE, Fit, assess
from rlhf.planning.hardware import KINDS, Hardware
from rlhf.planning.shapes import RoleShape, longest_row, rows_a_rank

Offload = Literal["none", "optimizer", "weights"]
LEAST_ROWS = 8
"""Rows generated together, below which no proposal goes."""
MOST_ROWS = 512
"""Rows generated together, above which no proposal goes: a row gets no cheaper beyond."""
MORE_NODES = (1, 2, 4, 8, 16)
"""Multiples of the nodes there are that are tried when nothing fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One choice of offload, ZeRO stages, checkpointing and batch sizes."""

    offload: Offload
    stage: int
    """ZeRO stage of roles that learn."""
    frozen_stage: int
    """ZeRO stage of roles that do not learn: 0, or 3 to shard weights."""
    checkpointing: bool
    max_tokens: int
    batch_size: int


def propose(experiment: Experiment, shapes: list[RoleShape], hardware: Hardware) -> Fit | None:
    """Return the first choice that fits, all roles side by side on every device; None if none does.

    Smaller ZeRO stages come first (they communicate least), then larger microbatches, then
    checkpointing, then offload.
    """
    if least_bytes(shapes) > USABLE * hardware.device().memory:
        return None
    for choice in _choices(experiment):
        fit = assess(_settings(experiment, shapes, hardware, choice), shapes, hardware)
        if fit.fits:
            return _widened(fit, shapes)
    return None


def nearest(experiment: Experiment, shapes: list[RoleShape], hardware: Hardware) -> Fit | None:
    """Return a proposal for the smallest other hardware that would do.

    More nodes of the same kind first, then devices with more memory, the least first.
    """
    found = (propose(experiment, shapes, other) for other in _others(hardware))
    return next((fit for fit in found if fit is not None), None)


def least_bytes(shapes: list[RoleShape]) -> float:
    """Return the bytes that no setting avoids: whole bf16 weights of a policy that generates."""
    return max(2.0 * shape.num_weights for shape in shapes if shape.writes)


def _others(hardware: Hardware) -> Iterator[Hardware]:
    kinds = {hardware.name.rpartition("x")[2]: hardware.kind}
    larger = [k for k in KINDS.items() if k[1].memory_gib > hardware.kind.memory_gib]
    kinds.update(sorted(larger, key=lambda item: item[1].memory_gib))
    for name, kind in kinds.items():
        for times in MORE_NODES:
            nodes = hardware.nodes * times
            yield hardware.model_copy(
                update={
                    "kind": kind,
                    "nodes": nodes,
                    "name": f"{nodes}x{hardware.devices}x{name}",
                    "bf16": hardware.bf16 or kind.is_gpu,
                }
            )


def changes(before: Experiment, after: Experiment) -> list[str]:
    """Return the settings in which two configurations differ, as KEY=VALUE of the second."""
    return list(_changes(before.model_dump(mode="json"), after.model_dump(mode="json"), ""))


def idle_note(fit: Fit) -> str | None:
    """Return a line about ranks that get no rows, if there are any."""
    ppo = fit.experiment.ppo
    ranks = fit.experiment.cluster.policy.ranks
    if ppo.minibatch_size >= ranks:
        return None
    return (
        f"{ranks - ppo.minibatch_size} of {ranks} ranks get no row of a minibatch: "
        f"ppo.minibatch_size={ppo.minibatch_size}; {ranks} or more use them all"
    )


def _choices(experiment: Experiment) -> Iterator[Choice]:
    asked = experiment.engine.gradient_checkpointing
    offloads: tuple[Offload, ...] = ("none", "optimizer", "weights")
    for offload in offloads:
        least = {"none": 0, "optimizer": 1, "weights": 3}[offload]
        for stage in range(least, 4):
            for frozen_stage in (0, 3) if stage == 3 else (0,):
                for checkpointing in (True,) if asked else (False, True):
                    for max_tokens, batch_size in _sizes(experiment):
                        yield Choice(
                            offload=offload,
                            stage=stage,
                            frozen_stage=frozen_stage,
                            checkpointing=checkpointing,
                            max_tokens=max_tokens,
                            batch_size=batch_size,
                        )


def _sizes(experiment: Experiment) -> Iterator[tuple[int, int]]:
    """Yield tokens a microbatch and rows generated together, both halved until one row is left."""
    tokens = experiment.engine.max_tokens_per_microbatch
    rows = experiment.generation.batch_size
    longest = longest_row(experiment)
    while True:
        yield max(tokens, 1), max(rows, 1)
        if tokens <= longest and rows <= LEAST_ROWS:
            return
        tokens = max(tokens // 2, min(tokens, longest))
        rows = max(rows // 2, min(rows, LEAST_ROWS))


def _settings(
    experiment: Experiment, shapes: list[RoleShape], hardware: Hardware, choice: Choice
) -> Experiment:
    rows = {role: RolePlacement() for role in experiment.cluster.table()}
    for shape in shapes:
        rows[shape.role] = _row(shape, hardware, choice)
    if "reward" not in {shape.role for shape in shapes} and hardware.kind.is_gpu:
        rows["reward"] = RolePlacement(colocate_with="policy")  # a function alone
    updated: dict[str, object] = {
        **cast("Mapping[str, object]", rows),
        "gpus_per_rank": 1.0 if hardware.kind.is_gpu else 0.0,
    }
    engine = {
        "backend": "deepspeed",
        "zero_stage": 0,
        "max_tokens_per_microbatch": choice.max_tokens,
        "gradient_checkpointing": choice.checkpointing,
    }
    return experiment.model_copy(
        update={
            "cluster": experiment.cluster.model_copy(update=updated),
            "engine": experiment.engine.model_copy(update=engine),
            "generation": experiment.generation.model_copy(
                update={"batch_size": choice.batch_size}
            ),
        }
    )


def _row(shape: RoleShape, hardware: Hardware, choice: Choice) -> RolePlacement:
    learns = shape.num_trainable > 0 or shape.stage is REWARD_MODEL
    stage = choice.stage if learns else choice.frozen_stage
    offload: Offload = choice.offload
    if not learns and not (offload == "weights" and stage == 3):
        offload = "none"
    host: RoleName | None = "policy" if hardware.kind.is_gpu and shape.role != "policy" else None
    return RolePlacement(
        ranks=hardware.count,
        colocate_with=host,
        zero_stage=cast("Literal[0, 1, 2, 3]", stage) if stage else None,
        offload=offload,
    )


def _widened(fit: Fit, shapes: list[RoleShape]) -> Fit:
    """Generate more rows together while they fit: a step reads the weights once for all."""
    while True:
        experiment = fit.experiment
        ppo, size = experiment.ppo, experiment.generation.batch_size
        ranks = experiment.cluster.policy.ranks
        rows = rows_a_rank(ppo.rollout_batch_size * ppo.samples_per_prompt, ranks)
        if size >= min(rows, MOST_ROWS):
            return fit
        generation = experiment.generation.model_copy(update={"batch_size": min(2 * size, rows)})
        wider = assess(
            experiment.model_copy(update={"generation": generation}), shapes, fit.hardware
        )
        policy = next(m for m in wider.memories if m.shape.writes)
        if not wider.fits or policy.num_slots < generation.batch_size:
            return fit
        fit = wider


def _changes(
    before: Mapping[str, object], after: Mapping[str, object], prefix: str
) -> Iterator[str]:
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _changes(
                cast("Mapping[str, object]", old),
                cast("Mapping[str, object]", value),
                f"{prefix}{name}.",
            )
        elif value != old:
            yield f"{prefix}{name}={_spelled(value)}"


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)
