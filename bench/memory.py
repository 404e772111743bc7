"""Peak memory of scoring and an update against vocabulary and batch: `python bench/memory.py`.

Every point is a fresh process that scores the rows of a batch and takes one optimizer step on
them, at a fixed engine.max_tokens_per_microbatch; what it prints is the most memory it ever had
(`getrusage`), and how much of that came after the model, its rows and a first small step were
there. If logits stood for a whole batch at once, that growth would follow batch x vocabulary
(`whole_logits_mib`); it should follow the budget alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from bench.kit import line, llama, machine, role_settings, rounded
from bench.scaling import learned
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import length_mask
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner
from rlhf.roles.reference import Reference

ROOT = Path(__file__).resolve().parents[1]
SHAPE = {"hidden": 128, "wide": 344, "layers": 2, "heads": 4, "kv_heads": 4}
VOCABULARIES, BATCHES = (4096, 16384, 65536), (16, 64, 256)
TINY_VOCABULARIES, TINY_BATCHES = (512,), (4,)
PROMPT, RESPONSE, MAX_TOKENS = 32, 64, 2048
MIB = 2**20


def peak() -> float:
    """Return the most memory this process ever had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rollout(num_rows: int, vocabulary: int) -> Rollout:
    """Return rows of skewed lengths that nobody wrote."""
    draw = torch.Generator().manual_seed(0)
    drawn_B = torch.empty(num_rows).exponential_(3 / RESPONSE, generator=draw).ceil()
    response_lengths_B = drawn_B.clamp(1, RESPONSE).long()
    response_lengths_B[0] = RESPONSE
    lengths_B = PROMPT + response_lengths_B
    mask_BT = length_mask(lengths_B, PROMPT + RESPONSE)
    tokens_BT = torch.randint(3, vocabulary, mask_BT.shape, generator=draw)
    return Rollout(
        tokens_BT=tokens_BT * mask_BT,
        prompt_lengths_B=torch.full((num_rows,), PROMPT),
        response_lengths_B=response_lengths_B,
        finished_B=response_lengths_B < RESPONSE,
        sampling_logprobs_BR=torch.zeros(num_rows, RESPONSE),
        prompts=("",) * num_rows,
        columns=({},) * num_rows,
    )


def point(vocabulary: int, num_rows: int) -> dict[str, float]:
    """Score and update once in this process; return what memory that took, MiB."""
    torch.set_num_threads(1)
    optimizer = OptimizerConfig(lr=1e-6)
    engine = LocalEngine(LanguageModel(llama({**SHAPE, "vocabulary": vocabulary})), optimizer)
    learner = Learner(engine, optimizer, max_tokens=MAX_TOKENS, total_updates=100)
    scorer = Reference(engine, role_settings(MAX_TOKENS), temperature=1.0)
    imitation = Imitation(engine, MAX_TOKENS)
    rows = rollout(num_rows, vocabulary)
    learner.update(imitation.objective(learned(rows.select([0]))))  # moments, gradients, libraries
    before = peak()
    scorer.step_logprobs(rows, 0)
    scored = peak()
    learner.update(imitation.objective(learned(rows)))
    num_logits = int(rows.response_lengths_B.sum()) * vocabulary
    return {
        "vocabulary": vocabulary,
        "rows": num_rows,
        "num_tokens": int(rows.lengths_B.sum()),
        "before_mib": before,
        "scored_mib": scored,
        "peak_mib": peak(),
        "growth_mib": peak() - before,
        "whole_logits_mib": num_logits * 4 / MIB,
    }


def elsewhere(vocabulary: int, num_rows: int) -> dict[str, float]:
    """Return one point, from a fresh process."""
    words = [f"--point={vocabulary},{num_rows}"]
    command = [sys.executable, "-m", "bench.memory", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def measure(vocabularies: tuple[int, ...], batches: tuple[int, ...]) -> dict[str, object]:
    """Return every point, and how growth of memory goes with the batch at each vocabulary."""
    points = [elsewhere(v, rows) for rows in batches for v in vocabularies]
    growth = {(p["vocabulary"], p["rows"]): p["growth_mib"] for p in points}
    logits = {(p["vocabulary"], p["rows"]): p["whole_logits_mib"] for p in points}
    last = batches[-1]
    first = batches[-2:][0]  # fewer rows do not fill the budget
    return {
        "settings": {
            "shape": SHAPE,
            "max_tokens_per_microbatch": MAX_TOKENS,
            "prompt": PROMPT,
            "longest": RESPONSE,
            "unit": "MiB",
        },
        "samples": points,
        "medians": {f"{v}x{rows}": rounded(grown) for (v, rows), grown in growth.items()},
        "ratio": {
            str(v): {
                "growth_of_4_times_the_rows": rounded(growth[v, last] / max(growth[v, first], 1)),
                "whole_logits_of_4_times_the_rows": rounded(logits[v, last] / logits[v, first]),
                "growth_to_whole_logits": rounded(growth[v, last] / logits[v, last]),
            }
            for v in vocabularies
        },
    }


def main(words: list[str] | None = None) -> str:
    """Measure every point, or the one that is asked for; return the JSON line."""
    parser = argparse.ArgumentParser(description="Peak memory of scoring and an update.")
    parser.add_argument("--point", help="VOCABULARY,ROWS: measure here")
    parser.add_argument("--tiny", action="store_true", help="one small point")
    asked = parser.parse_args(words)
    if asked.point:
        vocabulary, num_rows = map(int, asked.point.split(","))
        return json.dumps(point(vocabulary, num_rows))
    if asked.tiny:
        return line(machine(), measure(TINY_VOCABULARIES, TINY_BATCHES))
    return line(machine(), measure(VOCABULARIES, BATCHES))


if __name__ == "__main__":
    print(main(), flush=True)
