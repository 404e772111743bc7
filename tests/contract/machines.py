"""Roles that only the contract suites use: an engine laid open, and one that misbehaves."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from torch import Tensor

from rlhf.algo.packing import response_targets
from rlhf.config.cluster import Offload, RolePlacement
from rlhf.config.engine import EngineConfig
from rlhf.config.model import PeftConfig
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.engine.offload import Offloader
from rlhf.engine.world import World
from rlhf.engine.zero import ZeroEngine
from rlhf.errors import DataError
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm
from rlhf.models.recomputation import recompute_blocks
from tests.models import rollout

LR = 3e-3
NUM_ROWS = 7


@dataclass(frozen=True)
class Machine:
    """Builds an EngineProbe on a rank; stage None means LocalEngine."""

    path: str
    stage: int | None = None
    precision: str = "fp32"
    frozen: bool = False
    max_grad_norm: float = 0.05
    """Low, so that every update is clipped."""
    offload: Offload = "none"
    raw: dict[str, Any] = field(default_factory=dict)
    """engine.deepspeed."""
    recompute: bool = False
    """engine.gradient_checkpointing."""
    adapters: bool = False

    def __call__(self, world: World) -> EngineProbe:
        """Build."""
        torch.set_num_threads(1)
        engine = EngineConfig(precision=self.precision, deepspeed=self.raw)
        optimizer = OptimizerConfig(lr=LR, eps=1e-3, max_grad_norm=self.max_grad_norm)
        asked = None if self.frozen else optimizer
        model = self.model()
        if self.stage is None:
            return EngineProbe(LocalEngine(model, asked, bf16=self.precision == "bf16"))
        row = RolePlacement(zero_stage=self.stage, offload=self.offload)
        return EngineProbe(ZeroEngine(model, world, engine, row, asked))

    def model(self) -> LanguageModel:
        """Load the weights."""
        network = load_causal_lm(self.path, "fp32" if self.stage is None else self.precision)
        if self.adapters:
            Adapter(network, PeftConfig(method="lora"), seed=0)
        model = LanguageModel(network)
        if self.recompute:
            recompute_blocks(model)
        return model


class EngineProbe:
    """One rank's engine with a fixed batch whose rows are dealt to the ranks."""

    def __init__(self, engine: LocalEngine | ZeroEngine) -> None:
        """Take the engine."""
        self.engine = engine

    def train(self, first: int, last: int, lr: float = LR) -> list[tuple[float, float]]:
        """Take updates first to last - 1; return the (summed loss, norm) of each."""
        return [self._update(number, lr) for number in range(first, last)]

    def _update(self, number: int, lr: float) -> tuple[float, float]:
        """Pass the rows to `backward` one by one; ranks with fewer run one at weight 0."""
        world, batch, total = self.engine.world, rollout(NUM_ROWS, seed=number), torch.zeros(1)
        mine = list(range(world.rank, NUM_ROWS, world.size))
        for place in range(-(-NUM_ROWS // world.size)):
            row, weight = (mine[place], 1.0) if place < len(mine) else (0, 0.0)
            loss = self._loss(batch.select([row])) * weight
            self.engine.backward(loss)
            total += loss.detach().float()
        return float(world.total(total)), self.engine.step(lr)

    def _loss(self, rows) -> Tensor:
        logprobs_N, _ = self.engine(*response_targets(rows), 1.0)
        return -logprobs_N.sum()

    def weights(self) -> dict[str, Tensor]:
        """Ask the engine."""
        return self.engine.weights()

    def state(self) -> dict[str, Tensor]:
        """Ask the engine."""
        return self.engine.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Set the engine's state."""
        self.engine.load_state(state)

    def logprobs(self) -> Tensor:
        """Score the whole batch on every rank, through the engine."""
        with torch.no_grad():
            return self.engine(*response_targets(rollout(NUM_ROWS)), 1.0)[0]

    def gathered_logprobs(self) -> Tensor:
        """Score the batch with gathered weights, each rank another number of times."""
        with self.engine.gathered() as model, torch.no_grad():
            for _ in range(1 + self.engine.world.rank):
                answer = model(*response_targets(rollout(NUM_ROWS)), 1.0)[0]
        return answer

    def kept_bytes(self) -> int:
        """Count what a forward pass keeps for the backward pass, besides the weights."""
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self._loss(rollout(NUM_ROWS))
        for parameter in self.engine.module.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        return sum(kept.values())

    def held(self) -> dict[str, object]:
        """Return how DeepSpeed really stores the model, by the settings it runs with."""
        engine = self.engine._engine
        optimizer = engine.optimizer
        weights = engine.zero_offload_param()
        return {
            "optimizer": type(optimizer.optimizer).__name__,
            "optimizer on host": bool(engine.zero_cpu_offload()),
            "weights on host": weights is not None and weights.device == "cpu",
            "reduce_bucket_size": int(optimizer.reduce_bucket_size),
            "overlap_comm": bool(engine.zero_overlap_comm()),
        }

    def poison(self) -> None:
        """Take an update whose loss is not a number."""
        self.engine.backward(self._loss(rollout(1)) * torch.nan)
        self.engine.step(LR)

    def total(self) -> list[float]:
        """Sum (rank + 1, 10) over the ranks, and find the largest rank."""
        world = self.engine.world
        return [
            *world.total(torch.tensor([world.rank + 1, 10])).tolist(),
            world.largest(world.rank),
        ]


class ParkedMachine(Machine):
    """Builds a ParkedProbe, whose weights are memory of its own rather than a mapped file."""

    def __call__(self, world: World) -> ParkedProbe:
        """Build."""
        before = _live_bytes()
        return ParkedProbe(super().__call__(world).engine, frozenset(before))

    def model(self) -> LanguageModel:
        """Load the weights, and copy them."""
        model = super().model()
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        return model


class ParkedProbe(EngineProbe):
    """An engine that is offloaded and onloaded, in a process that counts all its tensors."""

    def __init__(self, engine: LocalEngine | ZeroEngine, others: frozenset[int]) -> None:
        """Take the engine, and the memory that was there before it."""
        super().__init__(engine)
        self._others, self._offloader = others, Offloader(engine, "cpu")

    def offload(self) -> tuple[int, int, int]:
        """Offload; return the bytes that were there, those freed, and those left."""
        before, freed = self._bytes(), self._offloader.offload()
        host = {
            chunk.data_ptr()
            for away in self._offloader._away or []
            for chunk in away.chunks
            if len(chunk)
        }
        left = {where: size for where, size in _live_bytes().items() if where not in host}
        return before, freed, sum(s for where, s in left.items() if where not in self._others)

    def onload(self) -> int:
        """Onload; return the bytes allocated."""
        return self._offloader.onload()

    def _bytes(self) -> int:
        return sum(s for where, s in _live_bytes().items() if where not in self._others)


def _live_bytes() -> dict[int, int]:
    """Return the size of every storage that any tensor of this process uses, by its address."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if issubclass(type(o), Tensor)]
    storages = [t.untyped_storage() for t in tensors if t.device.type == "cpu"]
    return {s.data_ptr(): s.nbytes() for s in storages if s.nbytes()}


class Troublemaker:
    """Fails in every way a role can."""

    def __init__(self, world: World) -> None:
        """Keep the rank's world."""
        self.rank, self.world = world.rank, world

    def pid(self) -> int:
        """Name the process."""
        return os.getpid()

    def variable(self, name: str) -> str | None:
        """Return an environment variable."""
        return os.environ.get(name)

    def meeting_place(self) -> list[str]:
        """Return the addresses on which this process listens at the port of its group."""
        port = int(os.environ["MASTER_PORT"])
        listening = [c for c in psutil.Process().net_connections() if c.status == "LISTEN"]
        return [c.laddr.ip for c in listening if c.laddr.port == port]

    def ray_folder(self) -> str:
        """Return the folder of Ray's session."""
        return ray._private.worker._global_node.get_session_dir_path()

    def ours(self) -> None:
        """Raise one of our errors."""
        raise DataError("prompts.jsonl:3: no prompt")

    def theirs(self) -> None:
        """Raise somebody else's error, on the last rank only."""
        if self.rank:
            raise ZeroDivisionError("the last rank fell")

    def echo(self, *words: object) -> tuple[object, ...]:
        """Return the rank and the arguments."""
        return (self.rank, *words)

    def huge_bytes(self, number: int) -> int:
        """Fill a tensor of so many bytes; count what of this process lies in huge pages then."""
        filled = torch.ones(number, dtype=torch.uint8)
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("AnonHugePages:"))
        return 1024 * int(kib) * int(filled[0])

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        time.sleep(seconds)

    def fall_alone(self) -> None:
        """Raise on the last rank, while the others are at it for long."""
        if not self.rank:
            time.sleep(8.0)
        self.theirs()

    def meet(self, seconds: float) -> float:
        """Sum over the ranks; the last one comes late."""
        if self.rank:
            time.sleep(seconds)
        return float(self.world.total(torch.ones(1)))

    def count(self, number: int, seconds: float) -> Iterator[int]:
        """Yield numbers, with a pause of so many seconds."""
        for answer in range(number):
            time.sleep(seconds)
            yield answer

    def ours_between(self) -> Iterator[int]:
        """Raise one of our errors after an answer."""
        yield self.rank
        self.ours()

    def fall_between(self) -> Iterator[int]:
        """Raise on the last rank after an answer, while the others are at it for long."""
        yield self.rank
        self.fall_alone()

    def meet_between(self, seconds: float) -> Iterator[float]:
        """Sum over the ranks after an answer; the last one comes late."""
        yield self.rank
        yield self.meet(seconds)
