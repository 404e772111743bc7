"""Segments: together they are the row, and those that are learned are what the mask says."""

from __future__ import annotations

import pytest

from rlhf.data.chat import encode_answer, encode_conversation
from rlhf.data.demonstrations import prepare_demonstrations
from rlhf.data.preferences import prepare_rankings
from rlhf.data.preview.segments import MOST_SEGMENTS, answers_of, segments_of, shortened
from rlhf.observe.preview import Segment
from tests.golden.chat_templates import TRAINED, source, tokenizer

USER = {"role": "user", "content": "hello world"}
GOOD = {"role": "assistant", "content": "good film"}


def joined(segments, *, learned=None):
    return "".join(p.text for p in segments if learned is None or p.learned is learned)


def test_a_row_is_shown_as_it_reads_and_special_tokens_apart(chatml):
    segments = segments_of(chatml, encode_answer(chatml, [USER], [GOOD]))
    assert joined(segments) == (
        "<|im_start|>user\nhello world<|im_end|>\n<|im_start|>assistant\ngood film<|im_end|>"
    )
    assert [p.text for p in segments if p.learned] == ["good film", "<|im_end|>"]
    assert {p.text for p in segments if p.special} == {"<|im_start|>", "<|im_end|>"}


def test_what_a_user_spells_like_a_special_token_is_none(chatml):
    segments = segments_of(chatml, encode_answer(chatml, "a <|im_end|>", " b"))
    assert [p.text for p in segments if p.special] == ["<|im_end|>"]
    assert joined(segments, learned=False) == "a <|im_end|>"


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "gemma", "qwen3_instruct_2507"])
def test_what_is_shown_as_learned_is_what_trl_learns(name):
    """The oracle is the mask that transformers reads off TRL's own training template."""
    own = tokenizer(name)
    chat = [USER, GOOD, {"role": "user", "content": "caf\u00e9?"}, {**GOOD, "content": "\u4e2d!"}]
    marked = own.apply_chat_template(
        chat,
        chat_template=source(f"{name}_training"),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    pairs = zip(marked["input_ids"], marked["assistant_masks"], strict=True)
    theirs = own.decode([token for token, mine in pairs if mine])
    shown = joined(segments_of(own, encode_conversation(own, chat)), learned=True)
    # White space behind a turn, and EOS where no turn ends with it, are known to differ.
    for differs in ("\n", str(own.eos_token)):
        shown, theirs = shown.replace(differs, ""), theirs.replace(differs, "")
    assert shown == theirs


def test_a_letter_over_a_border_is_shown_once(plain):
    ids = plain("\u4e2d\U0001f600")["input_ids"]
    for border in range(len(ids) + 1):
        mask = [False] * border + [True] * (len(ids) - border)
        assert joined(segments_of(plain, (ids, mask))) == "\u4e2d\U0001f600"


def test_answers_stand_behind_their_prompt(chatml, write, configured):
    path = write("p.jsonl", [{"prompt": "hello", "answers": [" good", " good film", " bad"]}])
    (entry,) = prepare_rankings(configured(preferences=path), chatml).entries
    prompt, *answers = answers_of(chatml, entry)
    assert joined(prompt) == "hello"
    assert [joined(a) for a in answers] == [f" {x}<|im_end|>" for x in ("good", "good film", "bad")]


def test_whole_texts_have_what_they_share_as_prompt(chatml, write, configured):
    path = write("p.jsonl", [{"chosen": "hello world good", "rejected": "hello world bad"}])
    (entry,) = prepare_rankings(configured(preferences=path), chatml).entries
    prompt, chosen, rejected = answers_of(chatml, entry)
    assert joined(prompt + chosen) == "hello world good<|im_end|>"
    assert joined(prompt + rejected) == "hello world bad<|im_end|>"
    assert not joined(prompt, learned=True)


def test_long_segments_lose_their_middle_and_say_how_much():
    segments = [Segment(text="short"), Segment(text="x" * 5000, learned=True), Segment(text="end")]
    shown = shortened(segments, 300)
    assert [shown[0].text, shown[2].text] == ["short", "end"]
    kept, left_out = shown[1].text.count("x"), 5000 - shown[1].text.count("x")
    assert f"\u2026 {left_out:,} letters \u2026" in shown[1].text
    assert 200 < kept < 300
    assert shown[1].learned


def test_of_many_segments_the_middle_is_counted():
    segments = [Segment(text=str(number), num_tokens=2) for number in range(1000)]
    shown = shortened(segments, 10_000)
    assert len(shown) == MOST_SEGMENTS + 1
    (note,) = [segment for segment in shown if segment.note]
    assert note.text.strip(" \u2026") == "1,920 tokens"


def test_a_short_row_is_shown_whole(chatml, write, configured):
    path = write("d.jsonl", [{"text": "the film"}])
    (entry,) = prepare_demonstrations(configured(demonstrations=path), chatml).entries
    (segments,) = answers_of(chatml, entry)
    assert shortened(segments, 1200) == segments


def test_these_templates_are_trls():
    assert {"qwen2_5", "llama3", "gemma"} <= set(TRAINED)
