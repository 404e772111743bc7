"""Company: the processes of a run, started when an act first needs them, ended with the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rlhf.cli.players import Players
from rlhf.cluster.group import Group
from rlhf.cluster.in_process import InProcessGroup
from rlhf.cluster.timeline import Timeline
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.observe.log import RunLog


class Company:
    """Owns the groups; a run whose acts are all done already starts none."""

    def __init__(self, experiment: Experiment, roles: list[RoleName], log: RunLog) -> None:
        """Describe the company; nothing is started yet."""
        self._experiment, self._roles, self._log = experiment, roles, log
        self._timeline, self._open = Timeline(), ExitStack()
        self.players = Players(experiment, self._start, self._timeline)

    def _start(self) -> Mapping[RoleName, Group]:
        cluster, threads = self._experiment.cluster, self._experiment.engine.threads
        if cluster.backend == "in_process":
            return {r: InProcessGroup(r, self._timeline, threads=threads) for r in self._roles}
        # Ray is needed by few commands and takes a second to import.
        from rlhf.cluster.ray_cluster import RayCluster, other_cluster

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
        return dict(self._open.enter_context(ray_cluster).start(self._roles))

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
