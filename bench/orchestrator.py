"""The driver alone: `python bench/orchestrator.py`, whole PPO steps over 64 and 512 ranks a role.

Ports, groups' dealing and joining of rows, experience and metrics are the project's own; behind
the ports every rank answers at once with tensors of the right shapes, no model. What a call hands
over is pickled as Ray would, and answers are unpickled; what the ranks do is left out of the
time. Responses have 64 slots, prompts 8 to 32 tokens. A figure is the driver's time, its peak
memory and the bytes that pass it, a row; each point is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.kit import line, machine, prompts, rounded
from rlhf.config.load import load
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, RolloutChunk
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.rewards.mix import Mix
from rlhf.rewards.sources import model_source
from rlhf.roles.reference import LOGPROBS
from rlhf.roles.remote import LEARN, SCORE, UNMARKED, Remote, chunks, remote
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.group import Build
from rlhf.runtime.proxy import RoleProxy
from rlhf.stages.ppo import PPO
from rlhf.stages.run import build_terms

RANKS, ROWS = (64, 512), (12_500, 100_000)
LONGEST, VOCABULARY = 64, 4096
ROOT = Path(__file__).resolve().parents[1]


class Rank:
    """Answers like a rank of any role, without a model."""

    @remote(Remote(deal="rows", join=chunks, streams=True))
    def generate(self, asked: PromptBatch, step: int) -> RolloutChunk:
        """Write random responses."""
        lengths_B = torch.randint(1, LONGEST + 1, (len(asked),))
        width = asked.tokens_BP.shape[1] + LONGEST
        return RolloutChunk(
            tokens_BT=torch.randint(VOCABULARY, (len(asked), width)),
            prompt_lengths_B=asked.lengths_B,
            response_lengths_B=lengths_B,
            finished_B=lengths_B < LONGEST,
            sampling_logprobs_BR=-torch.rand(len(asked), LONGEST),
            prompts=asked.prompts,
            columns=asked.columns,
            rows_B=torch.arange(len(asked)),
        )

    @remote(LOGPROBS)
    def step_logprobs(self, rollout: Rollout, step: int) -> tuple[Tensor, Tensor]:
        """Give log-probabilities of a share of the rows."""
        rows_N = torch.arange(max(1, len(rollout) // RANKS[0]))
        return rows_N, -torch.rand(len(rows_N), LONGEST)

    @remote(SCORE)
    def values(self, rollout: Rollout) -> Tensor:
        """Give values."""
        return -torch.rand(len(rollout), LONGEST)

    @remote(SCORE)
    def score_rows(self, rollout: Rollout) -> Tensor:
        """Give scores."""
        return torch.rand(len(rollout), 1)

    @remote(LEARN)
    def improve(
        self, experience: Experience, step: int, texts: Demonstrations | None = None
    ) -> Metrics:
        """Learn nothing."""
        return Metrics.of({"loss/policy_avg": 0.0})


@dataclass(slots=True)
class Answers:
    """Pickled answers of all ranks."""

    group: Ranks
    pickled: list[list[Any]]

    def result(self) -> list[Any]:
        """Unpickle them."""
        return [pickle.loads(head, buffers=rest) for head, *rest in self.pickled]


class Ranks:
    """A group of ranks in this process, behind pickles."""

    def __init__(self, name: str, size: int) -> None:
        """Take the seats."""
        self.name, self.size = name, size
        self.others_s, self.handed = 0.0, 0
        self._rank = Rank()

    def become(self, build: Build) -> None:
        """Stay what it is."""

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Answers:
        """Pickle what is handed over, once where ranks share it; answer."""
        stored: dict[int, list[Any]] = {}
        given = [[self._put(word, stored) for word in words] for words in arguments]
        began = time.perf_counter()
        # What all ranks share is unpickled once: it costs the ranks, not the driver.
        read = {id(word): _unpickled(word) for words in given for word in words}
        answers = [
            _pickled(getattr(self._rank, method)(*[read[id(word)] for word in words]))
            for words in given
        ]
        self.handed += sum(_size(answer) for answer in answers)
        self.others_s += time.perf_counter() - began
        return Answers(self, answers)

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Answer at once."""
        yield list(enumerate(self.call(method, arguments).result()))

    def close(self) -> None:
        """Have nothing to end."""

    def _put(self, word: object, stored: dict[int, list[Any]]) -> list[Any]:
        if id(word) not in stored:
            stored[id(word)] = _pickled(word)
            self.handed += _size(stored[id(word)])
        return stored[id(word)]


def _pickled(word: object) -> list[Any]:
    """Return the pickle and its out-of-band buffers."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(word, protocol=5, buffer_callback=buffers.append)
    return [head, *buffers]


def _unpickled(pickled: list[Any]) -> Any:
    return pickle.loads(pickled[0], buffers=pickled[1:])


def _size(pickled: list[Any]) -> int:
    return sum(len(memoryview(part)) for part in pickled)


def point(ranks: int, rows: int) -> dict[str, float]:
    """Return what one step costs the driver, the better of two."""
    experiment = load(
        {
            "ppo": {"rollout_batch_size": rows, "minibatch_size": rows // 2},
            "generation": {"max_new_tokens": LONGEST},
        }
    )
    asked = prompts(rows, VOCABULARY)
    groups = {name: Ranks(name, ranks) for name in ("policy", "reference", "reward", "value")}
    port: dict[str, Any] = {name: RoleProxy(group, Rank) for name, group in groups.items()}
    stage = PPO(
        prompts=lambda step: asked,
        policy=port["policy"],
        reference=port["reference"],
        reward=RewardSum(port["reward"], Mix((model_source("model"),))),
        value=port["value"],
        terms=build_terms(experiment),
    )
    before, costs = _peak_bytes(), []
    for step in range(2):
        others = sum(group.others_s for group in groups.values())
        began = time.perf_counter()
        stage.step(step)
        others = sum(group.others_s for group in groups.values()) - others
        costs.append(time.perf_counter() - began - others)
    handed = sum(group.handed for group in groups.values()) / 2
    return {
        "driver_us_a_row": rounded(min(costs) / rows * 1e6),
        "peak_kb_a_row": rounded((_peak_bytes() - before) / rows / 1e3),
        "handed_kb_a_row": rounded(handed / rows / 1e3),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(words: list[str] | None = None) -> str:
    """Measure every point, or the one that is asked for; return the JSON line."""
    parser = argparse.ArgumentParser(description="What a PPO step costs the driver.")
    parser.add_argument("--point", help="RANKS,ROWS: measure here")
    parser.add_argument("--tiny", action="store_true", help="two small points")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    if asked.point:
        ranks, rows = map(int, asked.point.split(","))
        return json.dumps(point(ranks, rows))
    all_ranks, all_rows = ((4,), (64, 128)) if asked.tiny else (RANKS, ROWS)
    found = {f"{n}x{rows}": _elsewhere(n, rows) for n in all_ranks for rows in all_rows}
    growth = {
        str(n): rounded(
            found[f"{n}x{all_rows[-1]}"]["driver_us_a_row"]
            / found[f"{n}x{all_rows[0]}"]["driver_us_a_row"]
        )
        for n in all_ranks
    }
    settings = {"longest": LONGEST, "ranks": all_ranks, "rows": all_rows}
    return line(machine(), {"settings": settings, "points": found, "growth_a_row": growth})


def _elsewhere(ranks: int, rows: int) -> dict[str, float]:
    """Measure a point in a process of its own: peaks do not fall."""
    words = [sys.executable, "-m", "bench.orchestrator", f"--point={ranks},{rows}"]
    answer = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(main(), flush=True)
