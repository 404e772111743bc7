"""Hardware: names, descriptions, this machine, and the error for anything else."""

from __future__ import annotations

import pytest

from rlhf.errors import ConfigError
from rlhf.planning.hardware import KINDS, measure, read_hardware


@pytest.mark.parametrize(
    ("asked", "nodes", "devices", "kind"),
    [
        ("8xh100", 1, 8, "h100"),
        ("1xh100-80gb", 1, 1, "h100"),
        ("4x8xa100-80gb", 4, 8, "a100-80gb"),
        ("64x8xmi300x", 64, 8, "mi300x"),
        ("2xrtx4090-24gb", 1, 2, "rtx4090"),
    ],
)
def test_known_names(asked, nodes, devices, kind):
    found = read_hardware(asked)
    assert (found.nodes, found.devices, found.kind) == (nodes, devices, KINDS[kind])
    assert found.count == nodes * devices


@pytest.mark.parametrize("asked", ["8xb9000", "h100", "0x8xh100", "8xh100-40gb", "nowhere.yaml"])
def test_unknown_names(asked):
    with pytest.raises(ConfigError, match=f"plan.hardware={asked}: "):
        read_hardware(asked)


def test_a_description(tmp_path):
    file = tmp_path / "lab.yaml"
    file.write_text("nodes: 2\ndevices: 4\nhost_gib: 500\nkind: l40s\n")
    found = read_hardware(str(file))
    assert (found.count, found.kind, found.host_gib) == (8, KINDS["l40s"], 500)
    file.write_text(
        "devices: 1\nkind: {memory_gib: 8, tflops: 10, memory_gb_s: 200, link_gb_s: 16}"
    )
    assert read_hardware(str(file)).device().memory == 8 * 2**30
    file.write_text("devices: 1\nkind: l40s\ncolour: red\n")
    with pytest.raises(ConfigError, match=r"lab.yaml: colour: Extra inputs"):
        read_hardware(str(file))


def test_this_machine_is_measured():
    found = measure()
    assert found.kind.tflops > 0
    assert found.kind.memory_gb_s > 0.1
    assert found.kind.memory_gib > 1
