"""What a Ray cluster of the run's own needs of this machine: ports, files, memory, a folder."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlhf.checkpoint.disk import existing
from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext
from rlhf.checks.disk import is_writable
from rlhf.errors import ConfigError

MIB = 2**20
LEAST_OPEN_FILES = 4096
"""Ray's own bound; it raises the soft limit to the hard one."""
LEAST_PORTS = 1000
"""Ray's servers, a few a process, take any that are free."""
LEAST_FREE_MIB = 512
"""In Ray's folder, for logs and spilled objects."""
LEAST_SHARED_MIB = 512
"""In /dev/shm, below which Ray's objects lie on disk."""
LONGEST_SOCKET = 107
"""Characters of a Unix socket's path on Linux."""
SESSION = "ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""The longest path that Ray makes a socket at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The ports, files, memory and folder that Ray will find on this machine."""

    open_files: int
    """Most files a process may open."""
    num_ports: int
    """Ports the system gives out by itself."""
    shared_mib: float
    """Free in /dev/shm."""
    temporary: Path
    """Where Ray keeps its sessions."""


def check_machine(context: CheckContext) -> str:
    """Check what Ray processes on this machine would need.

    Raises:
        ConfigError: a line for each thing that would keep Ray from starting.
    """
    if not context.starts_ray:
        return "no Ray is started here"
    machine = this_machine()
    problems = [*_loopback(), *faults(machine)]
    if problems:
        raise ConfigError("\n".join(problems))
    warnings = list(warnings_of(machine))
    if warnings:
        return CheckWarning("\n".join(warnings))
    return (
        f"{machine.num_ports:,} ports, {machine.open_files:,} open files, "
        f"{machine.shared_mib:,.0f} MiB in /dev/shm, Ray's folder in {machine.temporary}"
    )


def this_machine() -> Machine:
    """Measure this machine."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    shared = Path("/dev/shm")
    return Machine(
        open_files=hard if hard != resource.RLIM_INFINITY else 2**20,
        num_ports=high - low + 1,
        shared_mib=shutil.disk_usage(shared).free / MIB if shared.is_dir() else 0.0,
        temporary=Path(temporary),
    )


def faults(machine: Machine) -> Iterator[str]:
    """Yield what would keep Ray from starting."""
    if machine.open_files < LEAST_OPEN_FILES:
        yield (
            f"a process may open {machine.open_files:,} files, Ray wants {LEAST_OPEN_FILES:,}; "
            "raise the hard limit (`ulimit -Hn`, or --ulimit nofile=65536 in Docker)"
        )
    if machine.num_ports < LEAST_PORTS:
        yield (
            f"net.ipv4.ip_local_port_range leaves {machine.num_ports:,} ports, Ray wants "
            f"{LEAST_PORTS:,}; widen it with sysctl"
        )
    yield from _temporary_faults(machine.temporary)


def _temporary_faults(temporary: Path) -> Iterator[str]:
    remedy = "set RAY_TMPDIR to a short path that this user may write to"
    longest = len(str(temporary / SESSION))
    if longest > LONGEST_SOCKET:
        yield (
            f"{temporary}: Ray's sockets would have paths of {longest} characters, the system "
            f"allows {LONGEST_SOCKET}; {remedy}"
        )
    folder = existing(temporary / "ray")
    if not is_writable(folder):
        yield f"{folder} cannot be written to, and Ray keeps its sessions there; {remedy}"
    elif shutil.disk_usage(folder).free < LEAST_FREE_MIB * MIB:
        free = shutil.disk_usage(folder).free / MIB
        yield (
            f"{folder} has {free:.0f} MiB free, Ray wants {LEAST_FREE_MIB}; remove old sessions "
            "in it, or set RAY_TMPDIR to a larger disk"
        )


def warnings_of(machine: Machine) -> Iterator[str]:
    """Yield what would slow Ray down."""
    if machine.shared_mib < LEAST_SHARED_MIB:
        yield (
            f"/dev/shm has {machine.shared_mib:.0f} MiB free; below {LEAST_SHARED_MIB} Ray keeps "
            "its objects on disk, which is slow; --shm-size=2g in Docker"
        )


def _loopback() -> Iterator[str]:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        yield f"no port can be opened at 127.0.0.1 ({error}); bring the loopback interface up"
