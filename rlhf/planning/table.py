"""Table: a plan in words and columns, at most 100 wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rlhf.planning.fit import USABLE, Fit
from rlhf.planning.hardware import GIB, Hardware
from rlhf.planning.memory import RoleMemory
from rlhf.planning.shapes import longest_row
from rlhf.planning.speed import Speed

WIDTH = 100
COLUMNS = [
    "role",
    "ranks",
    "ZeRO",
    "weights",
    "optim",
    "grads",
    "buckets",
    "gather",
    "cache",
    "writing",
    "score",
    "activ.",
    "logits",
    "peak",
]


def hardware_line(hardware: Hardware) -> str:
    """Return the hardware of the plan, in one line."""
    kind = hardware.kind
    what = "GPUs" if kind.is_gpu else "cores"
    return (
        f"{hardware.name}: {hardware.nodes} x {hardware.devices} {what}, {kind.memory_gib:.4g} GiB "
        f"a {'GPU' if kind.is_gpu else 'node'}, {kind.tflops:.3g} TFLOP/s, "
        f"{kind.memory_gb_s:,.0f} GB/s"
    )


def shape_lines(fit: Fit) -> list[str]:
    """Return each role's network in a line."""
    return [
        f"{m.shape.label}: {m.shape.model_shape.family}, {m.model.num_weights:,} weights"
        + (f", {m.model.num_trainable:,} learn" if m.model.num_trainable else ", frozen")
        + f", {'bf16' if m.model.number_bytes == 2 else 'fp32'} ({m.shape.source})"
        for m in fit.memories
    ]


def memory_table(fit: Fit) -> list[str]:
    """Return GiB a rank, a row a role; and of a device, with all the ranks that run there."""
    rows = [_row(memory) for memory in fit.memories]
    kind = fit.hardware.kind
    room, unit = USABLE * kind.memory_gib, "GPU" if kind.is_gpu else "node"
    lines = columns([COLUMNS, *rows])
    lines.append(
        f"most on a {unit}: {fit.device_bytes / GIB:,.1f} GiB of {room:,.1f} that may be planned "
        f"with ({USABLE:.0%} of {kind.memory_gib:.4g})"
    )
    if kind.is_gpu:
        lines.append(f"most in a node's own memory: {fit.host_bytes / GIB:,.1f} GiB")
    return lines


def speed_lines(fit: Fit, speed: Speed) -> list[str]:
    """Return seconds of a step, tokens a second and hours."""
    return [
        f"a step of {speed.num_tokens:,} tokens (every row {longest_row(fit.experiment):,} long): "
        f"{speed.step:,.1f} s",
        f"  generate {speed.generate:,.1f}, score {speed.score:,.1f}, learn {speed.learn:,.1f}, "
        f"offload and onload {speed.offload:,.1f}",
        f"{speed.tokens_per_second:,.0f} tokens a second; {speed.hours:,.1f} hours for "
        f"ppo.num_steps={speed.num_steps}",
    ]


def wrapped(words: Sequence[str]) -> list[str]:
    """Return settings over as many lines as they need."""
    return textwrap.wrap(" ".join(words), WIDTH - 2, break_long_words=False, break_on_hyphens=False)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as text, the first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        " ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(memory: RoleMemory) -> list[str]:
    model_memory, model = memory.model_memory, memory.model
    sizes = (
        model_memory.weights,
        model_memory.optimizer,
        model_memory.gradients,
        model_memory.buckets,
        max(memory.copy, model_memory.gathered),
        memory.cache,
        memory.arranged + memory.writing,
        memory.scoring,
        memory.activations,
        memory.logits,
        memory.peak,
    )
    stage = str(model.stage) + {"none": "", "optimizer": "+o", "weights": "+w"}[model.offload]
    return [memory.shape.label, str(model.ranks), stage, *(gib(size) for size in sizes)]


def gib(size: float) -> str:
    """Return bytes as text in GiB: two decimals where it is small."""
    if not size:
        return "-"
    value = size / GIB
    return f"{value:.2f}" if value < 1 else f"{value:,.1f}"
