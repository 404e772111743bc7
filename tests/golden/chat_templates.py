"""Real chat templates: those in the trl package, each with a small tokenizer of its tokens."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

FOLDER = Path(trl.__file__).parent / "chat_templates"
MARKED = ("lfm2_2_5", "lfm2_2_5_vl")
"""Templates with marks of their own around what is learned."""
TRAINED = sorted(file.stem.removesuffix("_training") for file in FOLDER.glob("*_training.jinja"))
TRAINED += MARKED
"""Templates that have such marks, or that TRL has a variant of with them."""
OTHERS = ("gemma4", "llama3_1", "llama3_2")
"""Templates without marks."""
PARTS = ("idefics3", "llava_next")
"""Templates that take content as parts only."""
_ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "diffusion_gemma": "<eos>",
    "gemma": "<eos>",
    "glm4moe": "<|endoftext|>",
    "gptoss": "<|return|>",
    "idefics3": "<end_of_utterance>",
    "llama": "<|eot_id|>",
    "llava": "</s>",
    "muse": "<|eot|>",
    "phi": "<|endoftext|>",
}
_SPECIAL = re.compile(r"<\|?[\w\u2581\uff5c|]+\|?>|\[gMASK\]")
_ORDINARY = ("think", "tool", "arg", "function", "parameter", "image>", "atem", "/t")


def source(name: str) -> str:
    """Return a template's text."""
    name = name.removesuffix("_training") if name.startswith((*MARKED, *OTHERS)) else name
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer whose special tokens are the template's."""
    end = next((end for start, end in _ENDS.items() if name.startswith(start)), "<|im_end|>")
    written = _SPECIAL.findall(source(name) + source(f"{name}_training"))
    specials = {token for token in written if not token.strip("<|").startswith(_ORDINARY)}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>" if name.startswith("gemma") else "<s>",
        eos_token=end,
        pad_token="<|pad|>",
        additional_special_tokens=sorted(specials - {end, "<bos>", "<s>", "<|pad|>"}),
        chat_template=source(name),
    )


def shaped(name: str, messages: list[dict]) -> list[dict]:
    """Return messages with their content as the template takes it."""
    if name not in PARTS:
        return messages
    return [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
