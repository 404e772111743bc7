"""Encoding in one batch gives each row what is its own; rows over a limit stop or are counted."""

from __future__ import annotations

import logging

import pytest
import torch

from rlhf.data.encode import encode_answers, encode_prompts, pad_rows, rendered, short_enough
from rlhf.data.examples import Asked, Example
from rlhf.data.rows import Row
from rlhf.errors import DataError

USER = {"role": "user", "content": "hello world"}
GOOD = {"role": "assistant", "content": "good film"}


def example(prompt, *answers, line=1):
    asked = Asked(prompt=prompt, answers=answers, key="k")
    return Example(Row({}, f"a.jsonl:{line}"), asked, options={}, weight=1.0)


def texts(tokenizer, answers):
    return [
        (tokenizer.decode(ids), tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m]))
        for ids, mask in answers
    ]


def test_plain_rows_and_conversations_keep_their_order(chatml):
    # correctness 2, 5: the answer and its EOS are learned, nothing of the prompt.
    first, second, third = encode_answers(
        chatml,
        [
            example("hello ", "there", "you"),
            example([USER], [GOOD]),
            example(None, [USER, GOOD]),
        ],
    )
    end = "<|im_end|>"
    whole = [("hello there" + end, "there" + end), ("hello you" + end, "you" + end)]
    assert texts(chatml, first) == whole
    assert texts(chatml, second)[0][1] == "good film" + end
    assert second == third


def test_prompts_of_both_kinds_keep_their_order(llama):
    plain, chat, again = encode_prompts(
        llama, [example("the film"), example([USER]), example("world")]
    )
    assert [llama.decode(ids) for ids in (plain, again)] == ["<s>the film", "<s>world"]
    assert llama.decode(chat).endswith("<|im_start|>assistant\n\n")


@pytest.mark.parametrize("encode", [encode_answers, encode_prompts])
def test_every_refused_conversation_is_listed(plain, encode):
    rows = [
        example([USER], [GOOD], line=1),
        example("fine", "x", line=2),
        example([USER], [GOOD], line=3),
    ]
    with pytest.raises(DataError, match=r"(?s)a\.jsonl:1: messages.*a\.jsonl:3: messages"):
        encode(plain, rows)


def test_typed_special_tokens_are_counted(chatml, caplog):
    rows = [example("<|im_start|>user"), example("film<|im_end|>"), example("film")]
    with caplog.at_level(logging.WARNING):
        encode_prompts(chatml, rows)
    assert "1 plain texts spell special tokens" in caplog.text


def test_rows_over_the_limit(configured):
    rows = [example("x", line=line) for line in (1, 2, 3)]
    lengths, limit = [4, 5, 6], ("max_length", 5)
    with pytest.raises(DataError, match=r"a\.jsonl:3: 6 tokens, 5 allowed"):
        short_enough(rows, lengths, limit, configured())
    drop = configured(overlong="drop")
    assert short_enough(rows, lengths, limit, drop) == [0, 1]
    with pytest.raises(DataError, match=r"all 3 rows are longer than data\.max_length=3"):
        short_enough(rows, lengths, ("max_length", 3), drop)


def test_rows_are_padded_on_the_right():
    # correctness 2: what is learned from is padded on the right.
    assert pad_rows([[1, 2, 3], [], [4]]).tolist() == [[1, 2, 3], [0, 0, 0], [4, 0, 0]]
    assert pad_rows([[True], [False]], torch.bool).dtype == torch.bool
    assert pad_rows([]).shape == (0, 0)


GLUED = [("w2", "w3"), ("caf\u00e9", "\u00fc"), ("a 1", "2"), ("the film ", "was")]
APART = [("w2", " w3"), ("w2\n", "w3"), ("w2:", "w3"), ("\u4e2d", "\u6587"), ("\u0e01", "\u0e02")]


@pytest.mark.parametrize("pair", GLUED)
def test_answers_that_run_into_their_prompts_are_reported(chatml, caplog, pair):
    rows = [example("w2", " w3", line=1), example(*pair, line=2), example(*pair, line=3)]
    rows.append(example([USER], [GOOD], line=4))
    with caplog.at_level(logging.WARNING):
        encode_answers(chatml, rows)
    (told,) = caplog.messages
    assert told.startswith("2 of 3 plain answers run into their prompts, the first at a.jsonl:2: ")
    assert f"{pair[0]!r} and {pair[1]!r} are read as {pair[0] + pair[1]!r}" in told


@pytest.mark.parametrize("pair", APART)
def test_answers_that_stand_apart_are_not(chatml, caplog, pair):
    with caplog.at_level(logging.WARNING):
        encode_answers(chatml, [example(*pair), example(None, pair[0])])
    assert not caplog.messages


def test_a_token_over_the_border_is_reported_as_trl_does(chatml, caplog):
    # TRL compares the ids of the prompt with the first of prompt and completion together.
    for pair in (*GLUED, *APART):
        alone, whole = chatml(pair[0])["input_ids"], chatml("".join(pair))["input_ids"]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            encode_answers(chatml, [example(*pair)])
        assert caplog.messages or whole[: len(alone)] == alone


def test_reasoning_that_a_template_leaves_out_is_reported(r1, chatml, caplog):
    thought = {"role": "assistant", "content": "<think>hello</think>good film"}
    aside = {**GOOD, "reasoning_content": "because"}
    rows = [example([USER], [thought], line=1), example([USER], [GOOD], line=2)]
    rows.append(example(None, [USER, aside], line=3))
    for tokenizer, told in ((r1, ["2 conversations", "a.jsonl:1"]), (chatml, ["1 con", "jsonl:3"])):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            encode_answers(tokenizer, rows)
        assert all(part in caplog.text for part in (*told, "leaves out"))


@pytest.mark.parametrize("encode", [encode_answers, encode_prompts])
def test_a_refused_conversation_is_dropped_on_request(plain, encode, caplog):
    rows = [example([USER], [GOOD], line=1), example("fine", "x", line=2)]
    kept, encoded = rendered(rows, encode(plain, rows, drop=True))
    assert [row.row.where for row in kept] == ["a.jsonl:2"]
    assert len(encoded) == 1
    assert "left out 1 of 2 rows (data.invalid=drop): 1 like a.jsonl:1 (messages" in caplog.text
