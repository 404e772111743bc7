"""A response is read as the row that its answer makes in training, under every real template.

The oracle is the encoder of ranking rows, which tests/golden/test_learned_turns.py holds to TRL's.
"""

from __future__ import annotations

import pytest

from rlhf.data.chat import encode_answer, encode_prompt
from rlhf.data.retokenize import WrittenExchange, encode_exchange, read_exchange
from rlhf.data.tokenizer import train_tokenizer
from tests.golden.chat_templates import OTHERS, TRAINED, shaped, tokenizer

ANSWERS = ("Hello there", "Hello\n\nthere, caf\u00e9 \u4e2d", "a<|im_end|>b", "x")
REASONED = ("<think>\nhm\n</think>\n\nHello", "<think>a</think>b", "hm\n</think>\n\nHello")
NAMES = [*TRAINED, *OTHERS]
WRITER = train_tokenizer(["another vocabulary altogether"] * 3, 280)
ASKED = [{"role": "user", "content": "Hi"}]


def ends(words, name):
    """Return the ids that may end a response: EOS, and what the template writes there."""
    answer = shaped(name, [*ASKED, {"role": "assistant", "content": "\u00a7"}])
    tail = words.apply_chat_template(answer, tokenize=False).rpartition("\u00a7")[2]
    ids = words(tail, add_special_tokens=False)["input_ids"]
    return [words.eos_token_id, *[i for i in ids[:1] if i in words.all_special_ids]]


def written(words, text, end, *, prompt=ASKED, options=None):
    """Return what a policy with these words wrote; without an end it was cut."""
    return WrittenExchange(
        prompt=prompt,
        prompt_ids=encode_prompt(words, prompt, options),
        response_ids=[
            *words(text, add_special_tokens=False, split_special_tokens=True)["input_ids"],
            *([] if end is None else [end]),
        ],
        finished=end is not None,
        options=options or {},
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_finished_response_is_read_as_the_row_of_its_answer(name):
    words, asked = tokenizer(name), shaped(name, ASKED)
    for answer in (*ANSWERS, *REASONED):
        said = shaped(name, [{"role": "assistant", "content": answer}])
        trained, _ = encode_answer(words, asked, said)
        for end in ends(words, name):
            drawn = written(words, answer, end, prompt=asked)
            assert read_exchange(words, None, drawn) == trained, answer
        other = WrittenExchange(
            prompt=asked,
            prompt_ids=WRITER("Hi")["input_ids"],
            response_ids=[*WRITER(answer)["input_ids"][1:], WRITER.eos_token_id],
            finished=True,
            options={},
        )
        assert read_exchange(words, WRITER, other) == trained, answer


@pytest.mark.parametrize("name", NAMES)
def test_an_unfinished_response_ends_with_what_was_written(name):
    words, asked = tokenizer(name), shaped(name, ASKED)
    header = words.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    for answer in (*ANSWERS, *REASONED, "<think>hm", "ends in white space \n", ""):
        own = read_exchange(words, None, written(words, answer, None, prompt=asked))
        assert own == encode_exchange(words, asked, answer, False)
        assert words.decode(own) == header + answer


@pytest.mark.parametrize("name", ["gemma", "qwen2_5", "qwen3", "deepseek_r1_distill"])
def test_a_response_that_is_no_text_keeps_its_ids(name):
    words = tokenizer(name)
    special, half = words.all_special_ids[0], words("\u4e2d", add_special_tokens=False)["input_ids"]
    tail = encode_answer(words, ASKED, [{"role": "assistant", "content": "x"}])[0]
    letter = words("x", add_special_tokens=False)["input_ids"]
    tail = tail[len(tail) - tail[::-1].index(letter[0]) :]
    for said in ([*letter, special, *letter], half[:1]):
        asked = written(words, "", None)
        ended = WrittenExchange(
            prompt=ASKED,
            prompt_ids=asked.prompt_ids,
            response_ids=[*said, words.eos_token_id],
            finished=True,
            options={},
        )
        assert read_exchange(words, None, ended) == [*asked.prompt_ids, *said, *tail]


def test_options_of_the_row_reach_the_reward_models_template():
    words = tokenizer("qwen2_5")
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
    for finished in (True, False):
        for said in ("Hello", ""):
            ids = encode_exchange(words, ASKED, said, finished, {"tools": tools})
            text = words.apply_chat_template(
                ASKED, tools=tools, tokenize=False, add_generation_prompt=True
            )
            assert words.decode(ids).startswith(text + said)
