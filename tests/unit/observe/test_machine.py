"""The machine is described by what determines speed and the last bits of a sum."""

from __future__ import annotations

import json
import os

from rlhf.observe.machine import describe_machine, processor

INTEL = (
    "processor\t: 0\nmodel name\t: Xeon 8480\nflags\t\t: fpu sse avx2 fma avx512f avx512_bf16\n\n"
    "processor\t: 1\nmodel name\t: another\nflags\t\t: fpu\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


def test_the_first_processors_name_and_its_telling_features():
    assert processor(INTEL) == ("Xeon 8480", ["avx2", "fma", "avx512f", "avx512_bf16"])
    assert processor(ARM) == ("", ["asimd", "bf16"])
    assert processor("") == ("", [])


def test_it_is_flat_json_with_a_name_cores_memory_and_threads():
    found = describe_machine()
    assert json.loads(json.dumps(found)) == found
    assert not any(isinstance(value, dict) for value in found.values())
    assert found["processor"]
    assert found["cores"] == os.cpu_count()
    assert found["memory_gib"] > 0
    assert found["threads"] == os.environ.get("OMP_NUM_THREADS")
    assert isinstance(found["gpus"], list)
