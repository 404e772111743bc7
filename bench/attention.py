"""Attention of bf16 rows on a CPU, narrow and widened: `python bench/attention.py [--tiny]`.

Forward and backward of torch's kernel in bf16, and of the fp32 kernel on widened copies, over rows
of several lengths; both sides take turns. What `rlhf/models/attention.py` rests on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.kit import Samples, alternate, line, machine, medians, ratio

LENGTHS = (64, 96, 128, 256, 512, 1024)
TOKENS, HEADS, WIDTH = 2048, 8, 32


def sides(num_tokens: int) -> dict[str, Callable[[int], float]]:
    """Return what each side does with TOKENS tokens in rows of this length."""
    rows = max(1, TOKENS // num_tokens)
    shape = (rows, HEADS, num_tokens, WIDTH)
    leaves = [torch.randn(shape).bfloat16().requires_grad_() for _ in range(3)]
    mask = torch.ones(rows, 1, num_tokens, num_tokens, dtype=torch.bool).tril()

    def narrow(number: int) -> float:
        scaled_dot_product_attention(*leaves, mask).sum().backward()
        return rows * num_tokens

    def wide(number: int) -> float:
        answer = scaled_dot_product_attention(*(x.float() for x in leaves), mask)
        answer.bfloat16().sum().backward()
        return rows * num_tokens

    return {"narrow": narrow, "wide": wide}


def main(words: list[str]) -> str:
    """Measure every length; return the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tiny", action="store_true", help="short rows alone")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    samples: Samples = {}
    for num_tokens in LENGTHS[:1] if asked.tiny else LENGTHS:
        alternate(sides(num_tokens), 1)
        found = alternate(sides(num_tokens), asked.rounds)
        samples.update({f"{side}_{num_tokens}": turns for side, turns in found.items()})
    lengths = [name.rpartition("_")[2] for name in samples if name.startswith("wide")]
    return line(
        machine(),
        {
            "settings": {"tokens": TOKENS, "heads": HEADS, "width": WIDTH, "unit": "tokens"},
            "samples": samples,
            "medians": medians(samples),
            "ratio": {
                f"wide/narrow_{n}": ratio(samples, f"wide_{n}", f"narrow_{n}") for n in lengths
            },
        },
    )


if __name__ == "__main__":
    print(main(sys.argv[1:]), flush=True)
