"""RoleWorker: one rank in a Ray actor process; joins its process group, then holds a role."""

from __future__ import annotations

import gc
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlhf.engine.offload import Offloader
from rlhf.errors import RLHFError, WorkerError
from rlhf.roles.remote import UNMARKED, mark_of
from rlhf.runtime.group import Build
from rlhf.runtime.liveness import beat
from rlhf.runtime.network import interface_of
from rlhf.runtime.residency import Move
from rlhf.secret import cleaned

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Meeting:
    """What the ranks of a role are told to find one another, by a call that Ray does not log."""

    address: str
    """Where rank 0 listens."""
    port: int
    nonce: str = field(repr=False)
    """Random text of this start."""
    timeout_s: float
    secrets: Mapping[str, str] = field(repr=False)
    """Variables that Ray must not write anywhere."""
    umask: int
    """Of the driver: who may read the files that the ranks write."""


class RoleWorker:
    """Serves the calls of a RayGroup; each role has a subclass, so its processes bear its name."""

    def __init__(self, role: str, rank: int, size: int, *, threads: int) -> None:
        """Start without a role."""
        import torch

        torch.set_num_threads(threads)
        self._name, self._rank, self._size = role, rank, size
        self._role: object | None = None
        self._offloader = Offloader(None, "cpu")

    def address(self) -> str:
        """Return this node's address."""
        import ray

        return ray.util.get_node_ip_address()

    def meet(self, address: str, nonce: str) -> int:
        """Open the port at which the ranks will meet, on this address alone; return it."""
        from torch.distributed import TCPStore

        from rlhf.engine.store import sign

        # The system picks the port, and the store keeps it open: joining finds this very store.
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._door = socket.create_server((address, 0), family=family)
        port = self._door.getsockname()[1]
        self._store = TCPStore(
            address,
            port,
            is_master=True,
            wait_for_workers=False,
            multi_tenant=True,
            master_listen_fd=self._door.fileno(),
        )
        sign(self._store, nonce)
        return port

    def join(self, meeting: Meeting) -> None:
        """Join the role's process group, led by rank 0; learn the secrets."""
        os.environ.update(meeting.secrets)
        os.umask(meeting.umask)
        self._guard("join", lambda: self._join(meeting))

    def _join(self, meeting: Meeting) -> None:
        from rlhf.engine.store import check_alone, enter
        from rlhf.engine.world import pick_device
        from rlhf.engine.zero import start_world

        address = meeting.address
        os.environ.update(
            RANK=str(self._rank),
            LOCAL_RANK="0",
            WORLD_SIZE=str(self._size),
            MASTER_ADDR=address,
            MASTER_PORT=str(meeting.port),
            GLOO_SOCKET_IFNAME=interface_of(LOOPBACK if address == LOOPBACK else self.address()),
        )
        whole, own = enter(address, meeting.port, meeting.nonce, meeting.timeout_s)
        self._world = start_world(pick_device(), own, meeting.timeout_s)
        check_alone(whole, meeting.nonce)

    def beat(self, pulse: Any, name: str, every_s: float) -> None:
        """Give signs of life to the pulse from now on, under a name."""
        beat(pulse, name, every_s)

    def become(self, build: Build) -> None:
        """Drop the role built before, and build another."""
        self._role, self._offloader = None, Offloader(None, "cpu")
        gc.collect()
        gc.freeze()  # what is left is modules: later collections need not visit them again
        self._guard("become", lambda: self._set(build))

    def _set(self, build: Build) -> None:
        self._role = build(self._world)
        self._offloader = Offloader(self._role, self._world.device)

    def call(self, method: str, *arguments: Any) -> tuple[Any, float, float]:
        """Return a role method's answer, and when it began and ended."""
        start = time.time()
        answer = self._guard(method, lambda: self._ask(method, arguments))
        return answer, start, time.time()

    def stream(self, method: str, *arguments: Any) -> Iterator[tuple[list[Any], float, float]]:
        """Yield ([answer], start, now) for each answer of a role method; at its end [] as answer.

        The rank goes on working between two of them, whether or not the first was taken.
        """
        start = time.time()
        answers = self._guard(method, lambda: iter(self._ask(method, arguments)))
        while (answer := self._guard(method, lambda: next(answers, None))) is not None:
            yield [answer], start, time.time()
        yield [], start, time.time()

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        mark = mark_of(type(self._role), method) or UNMARKED
        if self._offloader.is_away and mark.needs_device:
            raise RuntimeError("the role is offloaded; onload it before calling it")
        return getattr(self._role, method)(*arguments)

    def move(self, move: Move, *_: object) -> tuple[int, float, float]:
        """Offload or onload the role; return the bytes moved, and when it began and ended.

        Further arguments are results that Ray waits for before it runs this.
        """
        start = time.time()
        run = {"offload": self._offloader.offload, "onload": self._offloader.onload}[move]
        return self._guard(move, run), start, time.time()

    def _guard(self, method: str, run: Any) -> Any:
        """Run a call; an error that is not ours is raised with the role, rank and node named."""
        try:
            return run()
        except RLHFError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again below, without its cause
            where = f"{self._name} rank {self._rank} of {self._size} on {socket.gethostname()}"
            reason = f"{type(error).__name__}: {error}".strip()
            # Without its cause, whose text Ray would write and send as it is.
            raise WorkerError(
                cleaned(f"{where} failed in {method}: {reason}\n{traceback.format_exc()}")
            ) from None


class PolicyWorker(RoleWorker):
    """A rank of the policy."""


class ReferenceWorker(RoleWorker):
    """A rank of the reference."""


class RewardWorker(RoleWorker):
    """A rank of the reward."""


class ValueWorker(RoleWorker):
    """A rank of the value."""


WORKERS = {
    "policy": PolicyWorker,
    "reference": ReferenceWorker,
    "reward": RewardWorker,
    "value": ValueWorker,
}
"""Role name -> the class whose name its processes show in a process list."""
