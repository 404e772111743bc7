"""Updates and scoring on skewed lengths, rows packed and padded: one JSON line.

`python bench/update.py [small|large] [rounds]`. Prompts have 32 tokens, responses are drawn from an
exponential with a third of the longest (64) as its mean. Both sides are the same engine, learner
and rows; they differ in whether rows may share a bin, and take turns in one process.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.algo.minibatch import microbatches, num_computed
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import Demonstrations
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner

PROMPT, RESPONSE, MAX_TOKENS = 32, 64, 8192
SHAPES: dict[str, dict[str, int]] = {
    "small": {"hidden": 256, "layers": 6, "heads": 4, "vocabulary": 4096, "rows": 64},
    "large": {"hidden": 576, "layers": 30, "heads": 9, "vocabulary": 49152, "rows": 16},
}
SIDES = {"padded": False, "packed": True}


def texts(num_rows: int, vocabulary: int) -> Demonstrations:
    """Return rows of skewed lengths; the loss is on responses."""
    draw = torch.Generator().manual_seed(0)
    drawn_B = torch.empty(num_rows).exponential_(3 / RESPONSE, generator=draw).ceil()
    lengths_B = PROMPT + drawn_B.clamp(1, RESPONSE).long()
    width = PROMPT + RESPONSE
    mask_BT = length_mask(lengths_B, width)
    tokens_BT = torch.randint(3, vocabulary, (num_rows, width), generator=draw) * mask_BT
    mask_BT[:, :PROMPT] = False
    return Demonstrations(tokens_BT=tokens_BT, lengths_B=lengths_B, loss_mask_BT=mask_BT)


def build(shape: dict[str, int]) -> tuple[LanguageModel, dict[str, Callable[[], object]], int]:
    """Return the model, what is timed, and the real tokens each passes over."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["hidden"],
        intermediate_size=shape["hidden"] * 8 // 3,
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        tie_word_embeddings=True,
    )
    model = LanguageModel(LlamaForCausalLM(config).eval())
    optimizer = OptimizerConfig(lr=1e-5)
    engine = LocalEngine(model, optimizer)
    learner = Learner(engine, optimizer, max_tokens=MAX_TOKENS, total_updates=10_000)
    imitation, rows = Imitation(engine, MAX_TOKENS), texts(shape["rows"], shape["vocabulary"])
    work: dict[str, Callable[[], object]] = {
        "update": lambda: learner.update(imitation.objective(rows)),
        "score": lambda: imitation.loss(rows),
    }
    return model, work, int(rows.lengths_B.sum())


def measure(name: str, rounds: int) -> dict[str, object]:
    """Return tokens a second of both sides, the median of `rounds` pairs, and every sample."""
    shape = SHAPES[name]
    model, work, num_tokens = build(shape)
    lengths_B = texts(shape["rows"], shape["vocabulary"]).lengths_B
    found: dict[str, object] = {"shape": {"name": name, **shape}, "num_tokens": num_tokens}
    for side, packs in SIDES.items():
        pieces = microbatches(lengths_B, MAX_TOKENS, packs=packs)
        computed = sum(num_computed(lengths_B[piece], packs=packs) for piece in pieces)
        found[f"padding_share_{side}"] = round(1 - num_tokens / computed, 4)
    for what, run in work.items():
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(rounds + 1):
            for side, packs in SIDES.items():
                model.packs = packs
                began = time.perf_counter()
                run()
                if number:
                    seconds[side].append(round(time.perf_counter() - began, 4))
        rates = {side: num_tokens / median(times) for side, times in seconds.items()}
        pairs = zip(seconds["padded"], seconds["packed"], strict=True)
        found[what] = {
            "tokens_per_s": {side: round(rate) for side, rate in rates.items()},
            "ratio": round(median(padded / packed for padded, packed in pairs), 3),
            "seconds": seconds,
        }
    return found


def machine() -> dict[str, object]:
    """Return where the figures come from."""
    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers")},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen, *more = sys.argv[1:] or ["small"]
    print(json.dumps({**machine(), **measure(chosen, int(more[0]) if more else 7)}), flush=True)
