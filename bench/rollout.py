"""Rollouts, measured: `python bench/rollout.py 6M|135M skewed|equal fp32|bf16`.

Three ways to answer the same prompts with the same weights take turns in one process: the
project's continuous sampler, transformers' padded `generate` (left-padded groups of as many rows),
and transformers' own continuous batching (one manager, kept). What counts is useful tokens a
second: those up to and including the stop. skewed: ids that end a response are so many that
lengths are geometric, a third of the longest on average. equal: nothing ends a response early.
With bf16 the padded side runs in fp32 too.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from bench.kit import (
    SHAPES,
    Samples,
    alternate,
    line,
    llama,
    machine,
    medians,
    prompts,
    ratio,
    stop_ids,
)
from rlhf.algo.seeding import derive_seed
from rlhf.flow.rollout import joined
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampler import sample
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"prompts": 8, "rows": 4, "longest": 9, "rounds": 1},
    "6M": {"prompts": 256, "rows": 64, "longest": 128, "rounds": 3},
    "135M": {"prompts": 256, "rows": 64, "longest": 128, "rounds": 1},
}
WARM_TOKENS = 4
PAGE = 16
"""Tokens a page of transformers' cache holds."""
Side = Callable[[int], float]


@dataclass(frozen=True)
class Task:
    """What every side is asked."""

    prompts: PromptBatch
    how: Sampling

    def texts(self) -> list[list[int]]:
        """Return the prompts' token ids."""
        lengths = self.prompts.lengths_B.tolist()
        pairs = zip(self.prompts.tokens_BP.tolist(), lengths, strict=True)
        return [tokens[:length] for tokens, length in pairs]

    def settings(self) -> GenerationConfig:
        """Return the same wish in transformers' words."""
        return GenerationConfig(
            max_new_tokens=self.how.max_new_tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=list(self.how.stop_ids) or None,
            pad_token_id=0,
        )


def task(num_prompts: int, num_rows: int, longest: int, stops: tuple[int, ...], v: int) -> Task:
    """Return prompts out of a vocabulary of v, and how to answer them."""
    how = Sampling(max_new_tokens=longest, temperature=1.0, batch_size=num_rows, stop_ids=stops)
    return Task(prompts(num_prompts, v), how)


def continuous(model: LanguageModel, asked: Task) -> Side:
    """Return the project's sampler."""

    def run(number: int) -> float:
        written = joined(
            sample(
                model, asked.prompts, asked.how, derive_seed(0, "generate", number), "continuous"
            )
        )
        return float(written.response_lengths_B.sum())

    return run


def padded(network: PreTrainedModel, asked: Task) -> Side:
    """Return transformers' `generate`, over prompts of like length together."""
    texts = sorted(asked.texts(), key=len)
    size = asked.how.batch_size
    groups = [left_padded(texts[at : at + size]) for at in range(0, len(texts), size)]

    def run(number: int) -> float:
        torch.manual_seed(number)
        network.generation_config = asked.settings()
        done = 0
        for tokens_BP, mask_BP in groups:
            tokens_BP = tokens_BP.to(network.device)
            written_BT = network.generate(tokens_BP, attention_mask=mask_BP.to(network.device))  # type: ignore[operator]
            done += num_useful(written_BT[:, tokens_BP.shape[1] :], asked.how.stop_ids)
        return float(done)

    return run


@contextmanager
def batching(network: PreTrainedModel, asked: Task) -> Iterator[Side]:
    """Give transformers' continuous batching: a manager of as many rows, which stays."""
    longest = int(asked.prompts.lengths_B.max()) + asked.how.max_new_tokens
    rows = asked.how.batch_size
    config = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=rows * (-(-longest // PAGE) + 1),
        max_batch_tokens=max(256, 4 * rows),
        max_requests_per_batch=rows,
        allow_block_sharing=False,  # weights change between a trainer's rollouts
    )
    settings = asked.settings()
    network.generation_config = settings
    manager = network.init_continuous_batching(settings, config)  # type: ignore[operator]
    manager.start()

    def run(number: int) -> float:
        torch.manual_seed(number)
        ids = manager.add_requests(asked.texts(), max_new_tokens=asked.how.max_new_tokens)
        results = [manager.get_result(timeout=600) for _ in ids]
        wrong = [result for result in results if result is None or result.error]
        if wrong:
            raise RuntimeError(f"{len(wrong)} of {len(ids)} requests failed: {wrong[0]}")
        return float(sum(len(result.generated_tokens) for result in results if result))

    try:
        yield run
    finally:
        manager.stop(block=True)


def left_padded(texts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return (tokens_BP, mask_BP)."""
    width = max(map(len, texts))
    tokens = [[0] * (width - len(text)) + text for text in texts]
    mask = [[0] * (width - len(text)) + [1] * len(text) for text in texts]
    return torch.tensor(tokens), torch.tensor(mask)


def num_useful(written_BR: Tensor, stops: tuple[int, ...]) -> int:
    """Return the tokens up to and including each row's first stop."""
    stopped_BR = torch.isin(written_BR, torch.tensor(stops, device=written_BR.device))
    first_B = stopped_BR.int().argmax(1) + 1
    whole_B = torch.full_like(first_B, written_BR.shape[1])
    return int(torch.where(stopped_BR.any(1), first_B, whole_B).sum())


def take_turns(size: str, precision: str, asked: Task, rounds: int) -> Samples:
    """Return every side's turns, after one short turn each that is not kept."""
    shape, dtype = SHAPES[size], DTYPES[precision]
    network = llama(shape, dtype)
    brief = Task(
        asked.prompts.select(list(range(asked.how.batch_size))),
        Sampling(
            max_new_tokens=WARM_TOKENS,
            temperature=1.0,
            batch_size=asked.how.batch_size,
            stop_ids=(),
        ),
    )
    with ExitStack() as stack:
        model = LanguageModel(llama(shape, dtype))  # it changes how its network rounds
        sides: dict[str, Side] = {
            "continuous": continuous(model, asked),
            "padded": padded(network, asked),
            "transformers": stack.enter_context(batching(llama(shape, dtype), asked)),
        }
        continuous(model, brief)(0)
        padded(network, brief)(0)
        if precision != "fp32":
            plain = llama(shape)
            padded(plain, brief)(0)
            sides["padded_fp32"] = padded(plain, asked)
        return alternate(sides, rounds)


def measure(size: str, lengths: str, precision: str, rounds: int | None) -> dict[str, object]:
    """Return settings, samples, medians and ratios of one setting."""
    sizes, vocabulary = SIZES[size], SHAPES[size]["vocabulary"]
    skewed = lengths == "skewed"
    rows, longest = sizes["rows"], sizes["longest"]
    num_prompts = sizes["prompts"] if skewed else rows
    stops = stop_ids(vocabulary, longest) if skewed else ()
    asked = task(num_prompts, rows, longest, stops, vocabulary)
    samples = take_turns(size, precision, asked, rounds or sizes["rounds"])
    plain = "padded" if precision == "fp32" else "padded_fp32"
    settings = {
        "size": size,
        "lengths": lengths,
        "precision": precision,
        "prompts": num_prompts,
        "rows": rows,
        "longest": longest,
        "unit": "useful tokens",
    }
    mean_length = {
        side: sum(turn["work"] for turn in turns) / len(turns) / num_prompts
        for side, turns in samples.items()
    }
    return {
        "settings": settings,
        "samples": samples,
        "mean_length": mean_length,
        "medians": medians(samples),
        "ratio": {
            "to_padded": ratio(samples, "continuous", "padded"),
            "to_padded_fp32": ratio(samples, "continuous", plain),
            "to_transformers": ratio(samples, "continuous", "transformers"),
            "transformers_to_padded": ratio(samples, "transformers", "padded"),
        },
    }


def main(words: list[str] | None = None) -> str:
    """Measure what the words ask for; return the JSON line."""
    parser = argparse.ArgumentParser(description="Rollouts, measured.")
    parser.add_argument("size", nargs="?", default="6M", choices=["6M", "135M"])
    parser.add_argument("lengths", nargs="?", default="skewed", choices=["skewed", "equal"])
    parser.add_argument("precision", nargs="?", default="fp32", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--tiny", action="store_true", help="the same on a toy model")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    size = "tiny" if asked.tiny else asked.size
    return line(machine(), measure(size, asked.lengths, asked.precision, asked.rounds))


if __name__ == "__main__":
    print(main(), flush=True)
