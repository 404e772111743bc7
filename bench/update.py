"""Updates and scoring on skewed lengths: `python bench/update.py 6M|135M fp32|bf16`.

Prompts have 32 tokens, responses are drawn from an exponential with a third of the longest (64) as
its mean. Both sides are the same engine, learner and rows; they differ in whether rows may share a
bin (packed) or are padded to the longest of their microbatch, and take turns in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from bench.kit import SHAPES, Samples, alternate, line, llama, machine, medians, ratio, rounded
from bench.memory import rollout
from bench.scaling import learned
from rlhf.algo.minibatch import microbatches, num_computed
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.models.attention import widen_short_rows
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner

MAX_TOKENS = 8192
ROWS = {"6M": 64, "135M": 16, "tiny": 8}
SIDES = {"padded": False, "packed": True}


def take_turns(size: str, precision: str, rounds: int) -> dict[str, Samples]:
    """Return both sides' turns of an update and of scoring; the first of each is not kept."""
    network, optimizer = llama(SHAPES[size]), OptimizerConfig(lr=1e-6)
    widen_short_rows(network)
    model = LanguageModel(network)
    engine = LocalEngine(model, optimizer, bf16=precision == "bf16")
    learner = Learner(engine, optimizer, max_tokens=MAX_TOKENS, total_updates=10_000)
    rows = learned(rollout(ROWS[size], SHAPES[size]["vocabulary"]))
    imitation, num_tokens = Imitation(engine, MAX_TOKENS), float(rows.lengths_B.sum())
    work: dict[str, Callable[[], object]] = {
        "update": lambda: learner.update(imitation.objective(rows)),
        "score": lambda: imitation.loss(rows),
    }

    def side(run: Callable[[], object], packs: bool) -> Callable[[int], float]:
        def turn(number: int) -> float:
            model.packs = packs
            run()
            return num_tokens

        return turn

    found: dict[str, Samples] = {}
    for name, run in work.items():
        sides = {side_name: side(run, packs) for side_name, packs in SIDES.items()}
        alternate(sides, 1)
        found[name] = alternate(sides, rounds)
    return found


def padding_shares(size: str) -> dict[str, float]:
    """Return how much of what each side computes is padding."""
    lengths_B = rollout(ROWS[size], SHAPES[size]["vocabulary"]).lengths_B
    shares: dict[str, float] = {}
    for name, packs in SIDES.items():
        chunks = microbatches(lengths_B, MAX_TOKENS, packs=packs)
        computed = sum(num_computed(lengths_B[chunk], packs=packs) for chunk in chunks)
        shares[name] = rounded(1 - int(lengths_B.sum()) / computed)
    return shares


def measure(size: str, precision: str, rounds: int) -> dict[str, object]:
    """Return settings, samples, medians in tokens a second, and ratios."""
    samples = take_turns(size, precision, rounds)
    return {
        "settings": {
            "size": size,
            "precision": precision,
            "rows": ROWS[size],
            "shape": dict(SHAPES[size]),
            "unit": "tokens",
        },
        "samples": samples,
        "medians": {name: medians(turns) for name, turns in samples.items()},
        "ratio": {name: ratio(turns, "packed", "padded") for name, turns in samples.items()},
        "padding_share": padding_shares(size),
    }


def main(words: list[str] | None = None) -> str:
    """Measure what the words ask for; return the JSON line."""
    parser = argparse.ArgumentParser(description="Updates and scoring, measured.")
    parser.add_argument("size", nargs="?", default="6M", choices=["6M", "135M"])
    parser.add_argument("precision", nargs="?", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="the same on a toy model")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    size = "tiny" if asked.tiny else asked.size
    return line(machine(), measure(size, asked.precision, asked.rounds))


if __name__ == "__main__":
    print(main(), flush=True)
