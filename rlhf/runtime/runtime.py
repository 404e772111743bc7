"""Runtime: the processes of a run; started when a stage first needs them, ended with the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar, cast

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.flow.text import PromptBatch
from rlhf.observe.log import RunLog
from rlhf.observe.spans import Span
from rlhf.runtime.group import Group
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.placement import COLUMNS, Placement, table
from rlhf.runtime.proxy import RoleProxy
from rlhf.runtime.reach import address_of
from rlhf.runtime.specs import Assignment, PrecisionProbeSpec, RewardProbeSpec, RoleSpec
from rlhf.runtime.timeline import Timeline

P = TypeVar("P")


class Runtime:
    """Assigns roles to processes, which start once a run and take one role after the other.

    A run whose stages are all done already starts none.
    """

    def __init__(
        self, experiment: Experiment, start: Callable[[], Mapping[RoleName, Group]]
    ) -> None:
        """Keep the settings and the function that starts the groups; nothing is started yet."""
        self.experiment, self._start = experiment, start
        self._groups: Mapping[RoleName, Group] | None = None

    def assign(self, spec: RoleSpec[P]) -> P:
        """Build a role on its processes; return its port. A role built before is dropped."""
        group = self.groups[spec.processes]
        group.become(Assignment(cast("RoleSpec[object]", spec), self.experiment))
        return cast("P", RoleProxy(group, spec.role))

    @property
    def groups(self) -> Mapping[RoleName, Group]:
        """The group of each role; the first access starts the processes."""
        if self._groups is None:
            self._groups = self._start()
        return self._groups

    def settle_precision(self, path: Path, texts: PromptBatch) -> str:
        """Decide what engine.precision=auto is for the policy; return it, and why.

        Where bf16 differs too much from fp32, all roles get fp32; else each goes by its size.

        Args:
            path: Folder of the policy's first weights.
            texts: Some texts of the run.
        """
        engine = self.experiment.engine
        if engine.precision != "auto":
            return f"{engine.precision} (engine.precision={engine.precision})"
        spec = PrecisionProbeSpec if "policy" in self.groups else RewardProbeSpec
        found = self.assign(spec(path=path)).measure(texts).result()
        if found.measured and found.precision == "fp32":
            changed = engine.model_copy(update={"precision": "fp32"})
            self.experiment = self.experiment.model_copy(update={"engine": changed})
        return f"{found.precision} (engine.precision=auto: {found.why})"


class Processes:
    """Owns the groups of a run, on Ray or in this process; a context manager that ends them."""

    def __init__(
        self,
        experiment: Experiment,
        roles: list[RoleName],
        log: RunLog,
        on_end: Callable[[str], None] = lambda process: None,
    ) -> None:
        """Keep the settings; nothing is started yet (on_end: see RayCluster)."""
        self._experiment, self._roles, self._log = experiment, roles, log
        self._on_end = on_end
        self._timeline, self._open = Timeline(), ExitStack()
        self.runtime = Runtime(experiment, self._start)
        self.num_nodes = 1
        """Nodes of the Ray cluster, once processes have started; 1 without one."""

    def timings(self) -> list[Span]:
        """Return the calls of all roles that ended since the last drain."""
        return self._timeline.drain()

    def _start(self) -> Mapping[RoleName, Group]:
        cluster, threads = self._experiment.cluster, self._experiment.engine.threads
        if cluster.backend == "in_process":
            return {r: InProcessGroup(r, self._timeline, threads=threads) for r in self._roles}
        # Ray is needed by few commands and takes a second to import.
        from rlhf.runtime.nodes import ask_connected
        from rlhf.runtime.ray_cluster import RayCluster, other_cluster
        from rlhf.runtime.residency import sharers, time_shared

        foreign = other_cluster(cluster)
        if foreign:
            self._log.warn(
                f"another Ray cluster runs at {foreign}; this run starts its own beside it "
                "(cluster.address=ADDRESS would use that one)"
            )
        self._log.note(f"starting {', '.join(self._roles)}")
        ray_cluster = RayCluster(
            cluster,
            self._timeline,
            threads=threads,
            num_runs=self._experiment.sweep.parallel,
            on_end=self._on_end,
        )
        self._open.enter_context(ray_cluster)
        if address_of(cluster) != "local":
            self._log.note(f"nodes: {ask_connected(self._experiment)}")
        started = ray_cluster.start(self._roles, note=self._log.note, announce=self._show)
        self.num_nodes = ray_cluster.num_nodes()
        together = sharers(cluster, self._roles)
        for roles in together:
            self._log.note(f"{', '.join(roles)} take turns on what they share")
        return time_shared(started, together)

    def _show(self, placement: Placement) -> None:
        rows = table(placement, self._experiment.engine.zero_stage)
        self._log.table("placement", COLUMNS, rows)

    def __enter__(self) -> Self:
        """Return this context; the processes start when a role is first assigned."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self._open.close()
