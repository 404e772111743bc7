"""SharedCluster: a Ray cluster on this machine for runs that come and go, such as a sweep's trials.

A process of its own owns it, so that every run connects and leaves as on any other cluster: Ray
frees the slots of a run when it disconnects. The cluster ends with the process that started it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import Self

from rlhf.errors import WorkerError
from rlhf.runtime import watchdog
from rlhf.runtime.reaper import marking

END_TIMEOUT_S = 60.0
AUTH_MODE = "RAY_AUTH_MODE"


class SharedCluster:
    """A cluster for the length of a `with`."""

    def __init__(self, num_runs: int, timeout_s: float) -> None:
        """Keep the settings; nothing is started yet.

        Args:
            num_runs: Runs that share it at a time. Each is to find as many cores as if it were
                alone, so the cluster reports num_runs times the cores of the machine.
            timeout_s: Most seconds its start may take.
        """
        self.num_cpus = num_runs * len(os.sched_getaffinity(0))
        self._timeout_s = timeout_s
        self._holder: subprocess.Popen[bytes] | None = None
        self.address = ""
        """HOST:PORT, while it runs."""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            WorkerError: when it does not answer in time.
        """
        self._holder = watchdog.start(
            "rlhf.runtime.shared", str(self.num_cpus), output=subprocess.PIPE
        )
        output = self._holder.stdout
        assert output is not None
        if select.select([output], [], [], self._timeout_s)[0]:
            self.address = output.readline().decode().strip()
        if not self.address:
            self._end(timeout_s=0.0)
            raise WorkerError(
                f"the sweep's Ray cluster did not start within {self._timeout_s:g} s; run "
                "`rlhf doctor`, or give cluster.address=HOST:PORT of a running one"
            )
        return self

    def environment(self) -> dict[str, str]:
        """Return the variables by which a run with cluster.address=auto finds it, and may enter."""
        # Ray guards a cluster that a program starts by a token; with an address it must be set.
        return {"RAY_ADDRESS": self.address, AUTH_MODE: os.environ.get(AUTH_MODE, "token")}

    def __exit__(self, *_: object) -> None:
        """End it, with all its processes."""
        self._end(timeout_s=END_TIMEOUT_S)

    def _end(self, *, timeout_s: float) -> None:
        keeper, self._holder, self.address = self._holder, None, ""
        assert keeper is not None and keeper.stdin is not None and keeper.stdout is not None
        keeper.stdin.close()
        keeper.stdout.close()
        try:
            keeper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


def keep(num_cpus: int) -> None:
    """Run a cluster until the process that started this one ends or closes the pipe."""
    # Only this process needs Ray; importing it takes a second.
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DISABLE_METRICS_COLLECTION", "1")
    with marking():
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    sys.stdout.write(f"{ray.get_runtime_context().gcs_address}\n")
    sys.stdout.flush()
    watchdog.wait_for_end()
    ray.shutdown()


if __name__ == "__main__":
    keep(int(sys.argv[1]))
