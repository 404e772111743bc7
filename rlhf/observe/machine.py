"""Machine: the hardware that a run's driver runs on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

PROCESSOR = Path("/proc/cpuinfo")
TELLING = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
"""Features of a processor by which libraries choose their kernels, and so the last bits."""
ASKED = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def describe_machine() -> dict[str, object]:
    """Return host, system, processor, its features, cores, memory (GiB), threads and GPUs.

    Flat, as JSON can keep it. `threads` is OMP_NUM_THREADS, None when it is not set.
    """
    model, features = processor(PROCESSOR.read_text("utf-8") if PROCESSOR.is_file() else "")
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": model or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "features": features,
        "cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "gpus": gpus(),
    }


def processor(cpuinfo: str) -> tuple[str, list[str]]:
    """Return the processor's model name ("" when unknown) and its relevant features, in order."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    return fields.get("model name", ""), [name for name in TELLING if name in flags]


def gpus() -> list[str]:
    """Return `name, driver, memory` of every NVIDIA GPU of this machine, from nvidia-smi."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    done = subprocess.run([tool, *ASKED], capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
