"""Hardware: what a plan is made for: a known kind of device, a file that describes it, or this one.

Known kinds carry the figures of their makers' data sheets: dense bf16 rate (no sparsity), memory,
memory bandwidth, and bandwidth between GPUs of one node, in one direction.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import psutil
import torch
import yaml
from pydantic import Field, ValidationError

from rlhf.config.section import Section
from rlhf.engine.precision import multiplies_bf16
from rlhf.errors import ConfigError
from rlhf.planning.memory import Device

GIB = 2**30
NETWORK_GB_S = 50.0
"""Between nodes, a GPU: one 400 Gbit/s port each, as clusters of such GPUs are built."""


class DeviceKind(Section):
    """One kind of device, and how the devices of a cluster are joined."""

    memory_gib: float = Field(gt=0)
    """Memory a device (of a node, where cores are the devices)."""
    tflops: float = Field(gt=0)
    """Dense matrix products, 10^12 operations a second, in bf16 (or in the fp32 a CPU runs)."""
    memory_gb_s: float = Field(gt=0)
    """Memory bandwidth, 10^9 bytes a second."""
    link_gb_s: float = Field(gt=0)
    """Between devices of a node, one direction."""
    network_gb_s: float = Field(default=NETWORK_GB_S, gt=0)
    """Between nodes, a device."""
    is_gpu: bool = True


KINDS: dict[str, DeviceKind] = {
    "a100-40gb": DeviceKind(memory_gib=40, tflops=312, memory_gb_s=1555, link_gb_s=300),
    "a100-80gb": DeviceKind(memory_gib=80, tflops=312, memory_gb_s=2039, link_gb_s=300),
    "h100": DeviceKind(memory_gib=80, tflops=989, memory_gb_s=3350, link_gb_s=450),
    "h200": DeviceKind(memory_gib=141, tflops=989, memory_gb_s=4800, link_gb_s=450),
    "l40s": DeviceKind(memory_gib=48, tflops=362, memory_gb_s=864, link_gb_s=32, network_gb_s=12),
    "rtx4090": DeviceKind(
        memory_gib=24, tflops=165, memory_gb_s=1008, link_gb_s=32, network_gb_s=12
    ),
    "mi300x": DeviceKind(memory_gib=192, tflops=1307, memory_gb_s=5300, link_gb_s=448),
}
"""By the names that `plan.hardware` knows."""


class Hardware(Section):
    """A cluster of like devices."""

    name: str = "described"
    nodes: int = Field(default=1, gt=0)
    devices: int = Field(gt=0)
    """GPUs a node, or cores where there are none."""
    kind: DeviceKind
    host_gib: float = Field(default=1024.0, gt=0)
    """Memory a node, beside its GPUs'."""
    bf16: bool = True
    """Whether it multiplies bf16 matrices fast."""

    @property
    def count(self) -> int:
        """Number of devices in the cluster."""
        return self.nodes * self.devices

    def device(self) -> Device:
        """Return the device whose memory is planned: a GPU, or a node without any."""
        return Device(memory=self.kind.memory_gib * GIB, is_gpu=self.kind.is_gpu, bf16=self.bf16)


def read_hardware(asked: str) -> Hardware:
    """Return the cluster that `plan.hardware` names.

    Raises:
        ConfigError: when it names nothing.
    """
    if asked == "here":
        return measure()
    if asked.endswith((".yaml", ".yml")):
        return _described(Path(asked))
    match = re.fullmatch(r"(?:(\d+)x)?(\d+)x([a-z][\w-]*)", asked)
    kind = match and _kind(match[3])
    if match is None or kind is None:
        raise ConfigError(
            f"plan.hardware={asked}: give here, FILE.yaml, or [NODESx]GPUSxNAME such as 8xh100 or "
            f"4x8xa100-80gb; known names: {', '.join(KINDS)}"
        )
    nodes, devices = int(match[1] or 1), int(match[2])
    if not nodes or not devices:
        raise ConfigError(f"plan.hardware={asked}: counts start at 1")
    return Hardware(name=asked, nodes=nodes, devices=devices, kind=kind)


def _kind(name: str) -> DeviceKind | None:
    """Return a known kind; its memory may follow its name: h100-80gb, rtx4090-24gb."""
    plain = re.sub(r"-(\d+)gb$", "", name)
    found = KINDS.get(name) or KINDS.get(plain)
    if found is None or name in KINDS:
        return found
    return found if name == f"{plain}-{found.memory_gib:g}gb" else None


def _described(file: Path) -> Hardware:
    try:
        content: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"plan.hardware={file}: cannot be read ({reason})") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"plan.hardware={file}: holds no mapping; docs/planning.md shows one")
    fields = {"name": file.name, **cast("Mapping[str, object]", content)}
    kind = fields.get("kind")
    if isinstance(kind, str):
        known = _kind(kind)
        if known is None:
            raise ConfigError(f"{file}: kind={kind} is not known; legal: {', '.join(KINDS)}")
        fields["kind"] = known
    try:
        return Hardware.model_validate(fields)
    except ValidationError as error:
        faults = [
            f"{file}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(faults)) from error


def measure() -> Hardware:
    """Return this machine, its rates measured in about a second: GPUs if it has any, else cores."""
    if torch.cuda.is_available():
        return _measured_gpus()
    bf16 = multiplies_bf16("cpu")
    rate, copied = _rates("cpu", torch.bfloat16 if bf16 else torch.float32, 512, 1 << 26)
    memory = psutil.virtual_memory().total / GIB
    kind = DeviceKind(
        memory_gib=memory,
        tflops=rate / 1e12,
        memory_gb_s=copied / 1e9,
        link_gb_s=copied / 1e9,
        is_gpu=False,
    )
    cores = len(os.sched_getaffinity(0))
    return Hardware(name="here", devices=cores, kind=kind, host_gib=memory, bf16=bf16)


def _measured_gpus() -> Hardware:
    rate, copied = _rates("cuda", torch.bfloat16, 8192, 1 << 30)
    kind = DeviceKind(
        memory_gib=torch.cuda.mem_get_info()[1] / GIB,
        tflops=rate / 1e12,
        memory_gb_s=copied / 1e9,
        link_gb_s=KINDS["l40s"].link_gb_s,
    )
    return Hardware(
        name="here",
        devices=torch.cuda.device_count(),
        kind=kind,
        host_gib=psutil.virtual_memory().total / GIB,
    )


def _rates(device: str, dtype: torch.dtype, size: int, num_bytes: int) -> tuple[float, float]:
    """Return (operations a second of a square product, bytes a second read and written)."""
    left = torch.ones(size, size, dtype=dtype, device=device)
    block = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(block)
    product = _fastest(lambda: left @ left, device)
    copy = _fastest(lambda: target.copy_(block), device)
    return 2 * size**3 / product, 2 * num_bytes / copy


def _fastest(run: Callable[[], object], device: str, budget_s: float = 0.3) -> float:
    """Return the seconds of the fastest of many calls, over a budget, after one to warm up."""
    run()
    best, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
