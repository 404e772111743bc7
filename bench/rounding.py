"""Rounding of a real model in bf16: `python bench/rounding.py [--tiny]`.

SmolLM2-135M answers questions. Its sampler is held against its own scoring, and its scoring against
fp32 and against other microbatches: in bf16 as the project computes it, and in plain bf16, where
hidden states and logits are rounded too. What `rlhf/models/rounding.py`,
`rlhf/roles/first_ratio.py` and `rlhf/roles/precision_probe.py` rest on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.kit import SHAPES, hold_in, line, llama, machine, prompts, rounded
from rlhf.data.chat import encode_prompt
from rlhf.data.tokenizer import load_tokenizer
from rlhf.flow.rollout import Rollout, joined
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampler import sample
from rlhf.generation.sampling import Sampling
from rlhf.generation.trial import gap, whole_logprobs
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_gguf
from rlhf.plugin import fetched

TOPICS = ("France", "rain", "the moon", "bread", "chess", "cats", "iron", "a bridge")
ASKED = ("What is {}?", "Tell me a story about {}.", "Why do people like {}?", "Is {} old?")


def questions() -> PromptBatch:
    """Return short questions under the model's chat template."""
    tokenizer = load_tokenizer(fetched("packaged:smollm2"))
    asked = [form.format(topic) for topic in TOPICS for form in ASKED]
    rows = [encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in asked]
    tokens_BP = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for number, row in enumerate(rows):
        tokens_BP[number, : len(row)] = torch.tensor(row)
    return PromptBatch(
        tokens_BP=tokens_BP,
        lengths_B=torch.tensor([len(row) for row in rows]),
        sample_B=torch.arange(len(rows)),
        prompts=tuple(asked),
        columns=({},) * len(rows),
    )


def plainly(model: LanguageModel) -> LanguageModel:
    """Let a bf16 model round everything, as transformers does."""
    embeddings = model.network.get_input_embeddings()
    embeddings._forward_hooks.clear()
    head = model.network.get_output_embeddings()
    head.__class__ = nn.Linear
    model._is_wide = False
    return model


def in_batches(model: LanguageModel, written: Rollout, size: int) -> Tensor:
    """Return logprobs_BR, so many rows at a time."""
    found = torch.zeros(written.sampling_logprobs_BR.shape)
    for rows_N in torch.arange(len(written)).split(size):
        found[rows_N] = whole_logprobs(model, written.select(rows_N), 1.0)
    return found


@torch.no_grad()
def figures(model: LanguageModel, exact: LanguageModel, asked: PromptBatch) -> dict[str, object]:
    """Let the model write, and hold its numbers against each other."""
    how = Sampling(max_new_tokens=32, temperature=1.0, batch_size=64, stop_ids=(2,))
    written = joined(sample(model, asked, how, 7, "continuous"))
    mask_BR, eight_BR = written.response_mask_BR, in_batches(model, written, 8)
    others = {
        "sampler": written.sampling_logprobs_BR,
        "one_row_at_a_time": in_batches(model, written, 1),
        "fp32": in_batches(exact, written, 8),
    }
    found: dict[str, object] = {"tokens": int(mask_BR.sum())}
    for name, other_BR in others.items():
        sizes = asdict(gap(other_BR, eight_BR, mask_BR))
        sizes["max"] = float((other_BR - eight_BR)[mask_BR].abs().max())
        found[name] = {key: rounded(value) for key, value in sizes.items()}
    return found


def main(words: list[str]) -> str:
    """Measure both ways; return the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small random model")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)

    def load(dtype: torch.dtype) -> LanguageModel:
        if asked.tiny:
            return LanguageModel(llama(SHAPES["tiny"], dtype))
        network = load_gguf(Path(fetched("packaged:smollm2"))).eval()
        hold_in(network, dtype)
        return LanguageModel(network)

    texts = prompts(6, SHAPES["tiny"]["vocabulary"]) if asked.tiny else questions()
    exact = load(torch.float32)
    sides = {"ours": load(torch.bfloat16), "plain": plainly(load(torch.bfloat16))}
    return line(machine(), {side: figures(model, exact, texts) for side, model in sides.items()})


if __name__ == "__main__":
    print(main(sys.argv[1:]))
