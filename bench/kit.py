"""What the benchmark scripts stand on: models, prompts, sides that take turns, one JSON line.

Axes: B rows, P prompt tokens.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.config.stages import PPOConfig
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.roles.passes import Settings

Samples = dict[str, list[dict[str, float]]]
"""Side -> what each of its turns took, `seconds`, and how much it did, `work`."""
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden": 32, "wide": 48, "layers": 2, "heads": 2, "kv_heads": 2, "vocabulary": 512},
    "6M": {
        "hidden": 256,
        "wide": 688,
        "layers": 6,
        "heads": 8,
        "kv_heads": 8,
        "vocabulary": 4096,
    },
    "135M": {
        "hidden": 576,
        "wide": 1536,
        "layers": 30,
        "heads": 9,
        "kv_heads": 3,
        "vocabulary": 49152,
    },
}


def llama_config(shape: Mapping[str, int], **changes: Any) -> LlamaConfig:
    """Return a Llama of this shape, tied, without token ids of its own unless given."""
    ids: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    ids.update(changes)
    return LlamaConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["hidden"],
        intermediate_size=shape["wide"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        **ids,
    )


def llama(shape: Mapping[str, int], dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Return a language model with fresh weights, the same ones in every call."""
    torch.manual_seed(0)
    network = LlamaForCausalLM(llama_config(shape)).eval()
    hold_in(network, dtype)
    return network


def hold_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Change the dtype of the weights; buffers, such as rotary frequencies, keep theirs."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)


def stop_ids(vocabulary: int, longest: int) -> tuple[int, ...]:
    """Return the first 3 / longest of the vocabulary.

    Fresh weights give near-uniform logits, so each step stops with about that probability:
    lengths are geometric, with a mean of about a third of the longest.
    """
    return tuple(range(max(1, vocabulary * 3 // longest)))


def prompts(num_rows: int, vocabulary: int, lengths: tuple[int, int] = (8, 32)) -> PromptBatch:
    """Return random prompts of uniform lengths from shortest to longest; no token is a stop id."""
    draw = torch.Generator().manual_seed(1)
    lengths_B = torch.randint(lengths[0], lengths[1] + 1, (num_rows,), generator=draw)
    width = int(lengths_B.max())
    tokens_BP = torch.randint(vocabulary // 2, vocabulary, (num_rows, width), generator=draw)
    return PromptBatch(
        tokens_BP=tokens_BP * length_mask(lengths_B, width),
        lengths_B=lengths_B,
        sample_B=torch.arange(num_rows),
        prompts=("",) * num_rows,
        columns=({},) * num_rows,
    )


def role_settings(max_tokens: int) -> Settings:
    """Return what roles need to know of a run."""
    return Settings(
        ppo=PPOConfig(minibatch_size=1 << 20),  # whole batches, cut by tokens alone
        seed=0,
        precision="fp32",
        longest_response=1,
        max_tokens=max_tokens,
        policy_ranks=1,
    )


def alternate(sides: Mapping[str, Callable[[int], float]], rounds: int) -> Samples:
    """Let the sides take turns, in one order and then in the other.

    Args:
        sides: Each is told the number of the round, and returns how much it did.
        rounds: Turns each side gets.
    """
    samples: Samples = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            began = time.perf_counter()
            work = sides[name](number)
            samples[name].append({"seconds": time.perf_counter() - began, "work": float(work)})
    return samples


def rates(turns: list[dict[str, float]]) -> list[float]:
    """Return the work a second of each turn."""
    return [turn["work"] / turn["seconds"] for turn in turns]


def medians(samples: Samples) -> dict[str, float]:
    """Return every side's median work a second."""
    return {name: rounded(median(rates(turns))) for name, turns in samples.items()}


def ratio(samples: Samples, above: str, below: str) -> float:
    """Return the median, over rounds, of one side's work a second over another's."""
    pairs = zip(rates(samples[above]), rates(samples[below]), strict=True)
    return rounded(median(one / other for one, other in pairs))


def rounded(number: float) -> float:
    """Return four significant digits."""
    return float(f"{number:.4g}")


def machine(*packages: str) -> dict[str, object]:
    """Return where the figures come from."""
    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "transformers", *packages)},
    }


def line(place: Mapping[str, object], figures: Mapping[str, object]) -> str:
    """Return the one JSON line of a script; samples are rounded to four digits."""
    return json.dumps(_short({**place, **figures}))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _short(value: object) -> object:
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {key: _short(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_short(entry) for entry in value]
    return value
