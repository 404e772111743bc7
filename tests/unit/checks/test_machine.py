"""Machine: what keeps a Ray cluster of the run's own from starting."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from rlhf.checks.machine import (
    Machine,
    check_machine,
    faults,
    this_machine,
    warnings_of,
)
from rlhf.errors import ConfigError


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(open_files=4096, num_ports=1000, shared_mib=512, temporary=tmp_path.parents[-2])


def test_a_machine_that_will_do(machine):
    assert not list(faults(machine))
    assert not list(warnings_of(machine))
    assert this_machine().num_ports > 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"open_files": 1024}, "may open 1,024 files, Ray wants 4,096"),
        ({"num_ports": 9}, "leaves 9 ports, Ray wants 1,000"),
    ],
)
def test_too_little_of_something(machine, change, told):
    (problem,) = faults(replace(machine, **change))
    assert told in problem


def test_little_shared_memory_is_a_doubt(machine):
    small = replace(machine, shared_mib=64)
    assert not list(faults(small))
    assert "--shm-size" in next(warnings_of(small))


def test_a_folder_that_ray_cannot_use(context, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    deep = tmp_path / ("deep" * 20)
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    with pytest.raises(ConfigError, match=r"paths of \d+ characters, the system allows 107; set"):
        check_machine(context(backend="deepspeed"))
    assert check_machine(context()) == "no Ray is started here"
    (tmp_path / "file").touch()
    told = list(faults(replace(this_machine(), temporary=tmp_path / "file")))
    assert "file cannot be written to, and Ray keeps its sessions there" in told[-1]


def test_a_full_disk(machine, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only the superuser may mount a small disk")
    try:
        told = list(faults(replace(machine, temporary=full)))
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert "full has 1 MiB free, Ray wants 512; remove old sessions" in told[-1]
