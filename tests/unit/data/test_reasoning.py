"""Reasoning: what real templates write by themselves, and which of it is learned, is told once."""

from __future__ import annotations

import re

import pytest

from rlhf.data.chat import encode_answer, encode_prompt
from rlhf.data.demonstrations import load_demonstrations
from rlhf.data.problems import heard
from rlhf.data.prompts import load_prompts
from tests.golden.chat_templates import source, tokenizer

USER = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
ROW = {"prompt": [USER], "completion": [HELLO]}
LEARNED, READ, BESIDE = "it is learned", "it is read, not learned", "what is learned is not"


def told(name, write, configured, *rows):
    path = write("a.jsonl", [*(rows or [ROW])] * 2)
    with heard() as lines:
        load_demonstrations(configured(demonstrations=path, invalid="drop"), tokenizer(name))
    return [line for line in lines if "the chat template" in line]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("qwen3", {}, LEARNED),
        ("glm4moe", {}, LEARNED),
        ("qwen3", {"enable_thinking": False}, READ),
        ("qwen3_5_nothink", {}, READ),
        ("nemotron_3_nano", {"enable_thinking": False}, READ),
        ("deepseek_r1_distill", {}, BESIDE),
    ],
)
def test_a_template_that_writes_a_block_itself_is_told_with_what_is_learned(
    name, options, says, write, configured
):
    """The block is looked up in the ids: behind the prompt's for what is learned, else in them."""
    (line,) = told(name, write, configured, {**ROW, "chat_template_kwargs": options})
    assert says in line
    block = re.findall(r"'(.*?)'", line)[0].encode().decode("unicode_escape")
    own = tokenizer(name)
    ids, mask = encode_answer(own, [USER], [HELLO], options)
    learned = own.decode([token for token, mine in zip(ids, mask, strict=True) if mine])
    asked = own.decode(encode_prompt(own, [USER], options))
    assert (block in learned) == (says == LEARNED)
    assert asked.endswith(block) == (says != LEARNED)


def test_what_follows_a_block_that_was_begun_is_learned(write, configured):
    (line,) = told("qwen3_6", write, configured)
    assert "go on with '\\n</think>\\n\\n', which is learned" in line
    own = tokenizer("qwen3_6")
    ids, mask = encode_answer(own, [USER], [HELLO])
    learned = own.decode([token for token, mine in zip(ids, mask, strict=True) if mine])
    assert learned.startswith("\n</think>\n\nHello")


def test_rows_with_reasoning_of_their_own_need_no_note(write, configured):
    said = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}
    assert told("qwen3", write, configured, {**ROW, "completion": [said]}) == []


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "gemma"])
def test_templates_without_reasoning_are_not_told_of(name, write, configured):
    assert "think" not in source(name)
    assert told(name, write, configured) == []


def test_prompts_tell_of_it_too(write, configured):
    path = write("p.jsonl", [{"prompt": [USER]}])
    with heard() as lines:
        load_prompts(configured(prompts=path), tokenizer("qwen3_6"))
    assert len(lines) == 1
    assert "begins every answer with '<think>\\n'" in lines[0]


def test_plain_text_needs_no_template(plain, write, configured):
    path = write("p.jsonl", [{"prompt": "Hi"}])
    with heard() as lines:
        load_prompts(configured(prompts=path), plain)
    assert lines == []
