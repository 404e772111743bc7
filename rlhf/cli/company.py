"""Company: the processes of a run, started when an act first needs them, ended with the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rlhf.cli.checks.cluster import ask_connected
from rlhf.cli.players import Players
from rlhf.cluster.group import Group
from rlhf.cluster.in_process import InProcessGroup
from rlhf.cluster.placement import COLUMNS, Placement, table
from rlhf.cluster.reach import address_of
from rlhf.cluster.timeline import Timeline
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.observe.log import RunLog
from rlhf.observe.spans import Span


class Company:
    """Owns the groups; a run whose acts are all done already starts none."""

    def __init__(self, experiment: Experiment, roles: list[RoleName], log: RunLog) -> None:
        """Describe the company; nothing is started yet."""
        self._experiment, self._roles, self._log = experiment, roles, log
        self._timeline, self._open = Timeline(), ExitStack()
        self.players = Players(experiment, self._start)
        self.num_nodes = 1
        """Nodes of the Ray cluster, once processes have started; 1 without one."""

    def timings(self) -> list[Span]:
        """Return the calls of all roles that ended since this was last asked."""
        return self._timeline.drain()

    def _start(self) -> Mapping[RoleName, Group]:
        cluster, threads = self._experiment.cluster, self._experiment.engine.threads
        if cluster.backend == "in_process":
            return {r: InProcessGroup(r, self._timeline, threads=threads) for r in self._roles}
        # Ray is needed by few commands and takes a second to import.
        from rlhf.cluster.ray_cluster import RayCluster, other_cluster
        from rlhf.cluster.residency import sharers, taking_turns

        foreign = other_cluster(cluster)
        if foreign:
            self._log.warn(
                f"another Ray cluster runs at {foreign}; this run starts its own beside it "
                "(cluster.address=ADDRESS would use that one)"
            )
        self._log.note(f"starting {', '.join(self._roles)}")
        ray_cluster = RayCluster(
            cluster, self._timeline, threads=threads, num_runs=self._experiment.sweep.parallel
        )
        self._open.enter_context(ray_cluster)
        if address_of(cluster) != "local":
            self._log.note(f"nodes: {ask_connected(self._experiment)}")
        started = ray_cluster.start(self._roles, note=self._log.note, announce=self._show)
        self.num_nodes = ray_cluster.num_nodes()
        together = sharers(cluster, self._roles)
        for roles in together:
            self._log.note(f"{', '.join(roles)} take turns on what they share")
        return taking_turns(started, together)

    def _show(self, placement: Placement) -> None:
        rows = table(placement, self._experiment.engine.zero_stage)
        self._log.table("placement", COLUMNS, rows)

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self._open.close()
