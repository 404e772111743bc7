"""Nodes with a network, a host name, a disk for Ray and processes of their own, on one machine.

Each is a set of Linux namespaces with one virtual cable to a bridge. The bridge, too, is in a
namespace, so the machine's own network is not touched; and all of it ends with the processes
that hold it, whichever way this one ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUBNET = "10.77.0"
GATE = f"{SUBNET}.254"
HELD = ("setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child")
OWN = ("--net", "--uts", "--ipc", "--mount", "--pid", "--mount-proc")
TOOLS = ("setpriv", "unshare", "nsenter", "ip")
BOOT = """
set -e
hostname "$1"
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/ray" /tmp/ray
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
echo up
read -r plugged_in
ip address add "$3/24" dev eth0
ip link set eth0 up
ip route add default via "$4"
shift 4
"$@" >&2 &
wait $!
"""

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def environment(**changes: str) -> dict[str, str]:
    """What every node and every client starts from: no Ray settings but the token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_DISABLE_METRICS_COLLECTION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # How often the head looks after a node; 3000 makes the tests wait.
        "RAY_health_check_period_ms": "500",
        "RAY_worker_niceness": "0",
    }
    return {**kept, **own, **TOKEN, **changes}


def why_not() -> str:
    """Say why this machine can have no such nodes; nothing if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", *OWN, "--fork", "bash", "-c", "ip link add eth0 type veth peer name eth1"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"needs root's namespaces: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass
class Node:
    """One machine; `process` holds it."""

    number: int
    process: subprocess.Popen[str]

    @property
    def name(self) -> str:
        """Its host name."""
        return f"node{self.number}"

    def kill(self) -> None:
        """End it and every process on it, at once."""
        self.process.kill()
        self.process.wait()


@dataclass
class Network:
    """A bridge and the nodes on it; a context that takes all of it down."""

    home: Path
    environment: dict[str, str]
    nodes: dict[int, Node] = field(default_factory=dict)

    def __enter__(self) -> Network:
        """Put up the bridge."""
        held = [*HELD, "--net", "--fork", "bash", "-c", "echo up; exec sleep infinity"]
        self._bridge = subprocess.Popen(held, stdout=subprocess.PIPE, text=True)
        assert self._bridge.stdout.readline() == "up\n"
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("address", "add", f"{GATE}/24", "dev", "bridge")
        self._ip("link", "set", "bridge", "up")
        return self

    def __exit__(self, *error: object) -> None:
        """End everything."""
        for node in self.nodes.values():
            node.kill()
        self._bridge.kill()
        self._bridge.wait()

    def boot(self, number: int, *command: str) -> Node:
        """Start a node that runs a command."""
        disk = self.home / f"node{number}"
        (disk / "ray").mkdir(parents=True, exist_ok=True)
        # As installers write it: the machine's own name is the loopback.
        (disk / "hosts").write_text(f"127.0.0.1 localhost node{number}\n")
        Path("/tmp/ray").mkdir(exist_ok=True)
        arguments = (f"node{number}", str(disk), f"{SUBNET}.{number}", GATE, *command)
        with (disk / "said").open("ab") as said:
            process = subprocess.Popen(
                [*HELD, *OWN, "bash", "-c", BOOT, "boot", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=self.environment,
            )
        node = Node(number, process)
        self.nodes[number] = node
        assert process.stdout.readline() == "up\n", (disk / "said").read_text()
        cable = ("link", "add", f"port{number}", "master", "bridge", "type", "veth")
        self._ip(*cable, "peer", "name", "eth0", "netns", str(process.pid))
        self._ip("link", "set", f"port{number}", "up")
        process.stdin.write("\n")
        process.stdin.flush()
        return node

    def inside(self, *command: str) -> list[str]:
        """Return a command line that runs a command at the bridge, on no node."""
        return ["nsenter", f"--net=/proc/{self._bridge.pid}/ns/net", *command]

    def _ip(self, *arguments: str) -> None:
        subprocess.run(self.inside("ip", *arguments), check=True)
