"""Table: a plan reads in 100 columns."""

from __future__ import annotations

from rlhf.planning.fit import assess
from rlhf.planning.hardware import read_hardware
from rlhf.planning.shapes import role_shapes
from rlhf.planning.speed import speed
from rlhf.planning.table import gib, hardware_line, memory_table, shape_lines, speed_lines, wrapped


def test_lines_are_narrow_and_aligned(planned):
    asked = planned("70b", cluster={"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 3}})
    fit = assess(asked, role_shapes(asked), read_hardware("8xh100"))
    table = memory_table(fit)
    assert [line.split()[0] for line in table[1:5]] == ["policy", "reference", "reward", "value"]
    assert len({len(line) for line in table[:5]}) == 1
    assert "131.4" in table[1]
    lines = [*table, *speed_lines(fit, speed(fit)), hardware_line(fit.hardware)]
    assert max(map(len, lines)) <= 100
    assert shape_lines(fit)[0].startswith("policy: llama, 70,553,706,496 weights, 70,553,706,496")


def test_settings_wrap():
    settings = [f"cluster.policy.ranks={number}" for number in range(12)]
    lines = wrapped(settings)
    assert " ".join(lines) == " ".join(settings)
    assert max(map(len, lines)) <= 98


def test_gib():
    assert [gib(size) for size in (0, 2**29, 3 * 2**30, 2**41)] == ["-", "0.50", "3.0", "2,048.0"]
