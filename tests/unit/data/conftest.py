"""Small real tokenizers: with and without BOS, with a reasoning header, with rewritten turns."""

from __future__ import annotations

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from rlhf.config.data import DataConfig

torch.set_num_threads(1)

CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n\\n' + m['content'] | trim + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n\\n' }}{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}"
    "{{ '<|Assistant|>' + m['content'].split('</think>')[-1] + eos_token }}"
    "{% else %}{{ '<|User|>' + m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEXTS = [
    "hello world, the film was good",
    "a bad film about the world",
    "user assistant system",
] * 3


def build(template: str | None, bos: bool, eos: str = "<|im_end|>") -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|User|>", "<|Assistant|>"]
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>" if bos else None,
        eos_token=eos,
        pad_token="<|end|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<|User|>", "<|Assistant|>"],
        chat_template=template,
    )


@pytest.fixture(scope="session")
def chatml():
    return build(CHATML, bos=False)


@pytest.fixture(scope="session")
def llama():
    return build(LLAMA, bos=True)


@pytest.fixture(scope="session")
def r1():
    return build(R1, bos=True)


@pytest.fixture(scope="session")
def qwen3():
    return build(QWEN3, bos=False)


@pytest.fixture(scope="session")
def plain():
    return build(None, bos=False)


@pytest.fixture(scope="session")
def chatml_with():
    """A ChatML tokenizer with another template, and its own BOS or EOS if given."""

    def make(template, bos=False, eos="<|im_end|>"):
        return build(template, bos=bos, eos=eos)

    return make


@pytest.fixture
def write(tmp_path):
    def write_rows(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write_rows


@pytest.fixture(scope="session")
def configured():
    """A DataConfig without held-out rows, unless it is asked for them."""

    def make(**settings):
        return DataConfig(**{"validation_fraction": 0.0, "test_fraction": 0.0, **settings})

    return make
