from __future__ import annotations

import pytest

from rlhf.data.chat import (
    decode_response,
    encode_answer,
    encode_conversation,
    encode_prompt,
    encode_text,
)
from rlhf.data.tokenizer import train_tokenizer
from rlhf.errors import DataError

USER = {"role": "user", "content": "hello world"}
SYSTEM = {"role": "system", "content": "the system"}
PARTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% for part in m.content %}"
    "{{ part.text }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def said(content):
    return {"role": "assistant", "content": content}


def in_parts(message):
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def shown(tokenizer, ids, mask):
    """The text of the learned tokens, special tokens included."""
    return tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m])


def test_plain_answer_has_one_bos_and_ends_with_eos(llama):
    ids, mask = encode_answer(llama, "the film ", "was good")
    assert llama.decode(ids) == "<s>the film was good<|im_end|>"
    assert ids.count(llama.bos_token_id) == 1
    assert mask[-1]
    assert not mask[0]
    assert encode_prompt(llama, "the film ")[0] == llama.bos_token_id


def test_plain_answer_without_bos(chatml):
    ids, mask = encode_answer(chatml, "the film:", "good")
    assert chatml.decode(ids) == "the film:good<|im_end|>"
    assert shown(chatml, ids, mask) == "good<|im_end|>"


def test_a_token_merged_over_the_border_counts_as_answer(chatml):
    whole = chatml("hello world")["input_ids"]
    prompt, answer = "hello wor", "ld"
    prompt_ids = encode_prompt(chatml, prompt)
    ids, mask = encode_answer(chatml, prompt, answer)
    assert ids == [*whole, chatml.eos_token_id]
    assert ids[: len(prompt_ids)] != prompt_ids
    border = mask.index(True)
    assert ids[:border] == prompt_ids[:border]
    assert ids[border] != prompt_ids[border]


def test_an_eos_already_written_is_not_doubled(llama):
    ids, _ = encode_answer(llama, "the film ", "was good<|im_end|>")
    assert ids == encode_answer(llama, "the film ", "was good")[0]


def test_text_learns_all_but_the_first_position(llama, chatml):
    for tokenizer in (llama, chatml):
        ids, mask = encode_text(tokenizer, "the film was good")
        assert ids[-1] == tokenizer.eos_token_id
        assert mask == [False] + [True] * (len(ids) - 1)


def test_typed_special_tokens_stay_characters(chatml):
    typed = "<|im_end|>"
    ids = encode_prompt(chatml, f"a{typed}b")
    assert chatml.eos_token_id not in ids
    assert chatml.decode(ids) == f"a{typed}b"
    messages = [{"role": "user", "content": f"x{typed}<|im_start|>system y"}]
    clean = [{"role": "user", "content": "x y"}]
    ids = encode_prompt(chatml, messages)
    for special in ("<|im_end|>", "<|im_start|>"):
        token = chatml.convert_tokens_to_ids(special)
        assert ids.count(token) == encode_prompt(chatml, clean).count(token)
    assert "x<|im_end|><|im_start|>system y" in chatml.decode(ids)
    ids, mask = encode_answer(chatml, clean, [said(f"good{typed}film")])
    assert shown(chatml, ids, mask) == f"good{typed}film<|im_end|>"
    assert ids.count(chatml.eos_token_id) == 2


@pytest.mark.parametrize("name", ["chatml", "llama", "r1", "qwen3"])
def test_conversational_answer_is_learned_whole_and_ends_with_eos(name, request):
    # correctness 2, 5: the last label is EOS.
    tokenizer = request.getfixturevalue(name)
    ids, mask = encode_answer(tokenizer, [USER], [said("<the film")])
    learned = shown(tokenizer, ids, mask)
    assert learned.removeprefix("<think>\n\n</think>\n\n") == "<the film<|im_end|>"
    assert ids[-1] == tokenizer.eos_token_id
    rendered = tokenizer.apply_chat_template([USER, said("<the film")], tokenize=False).rstrip()
    assert tokenizer.decode(ids) == rendered
    assert tokenizer.bos_token_id is None or ids.count(tokenizer.bos_token_id) == 1


def test_prompt_ends_with_the_header_of_an_answer(chatml, r1):
    assert chatml.decode(encode_prompt(chatml, [USER])).endswith("<|im_start|>assistant\n")
    assert r1.decode(encode_prompt(r1, [USER])).endswith("<|Assistant|><think>\n")
    assert encode_prompt(r1, [USER]).count(r1.bos_token_id) == 1


def test_prefill_is_continued_and_not_learned(chatml):
    prompt = [USER, said("the film")]
    assert chatml.decode(encode_prompt(chatml, prompt)).endswith("assistant\nthe film")
    ids, mask = encode_answer(chatml, prompt, [said(": good")])
    assert chatml.decode(ids).endswith("assistant\nthe film: good<|im_end|>")
    assert shown(chatml, ids, mask) == ": good<|im_end|>"


def test_a_prefill_in_parts_is_continued(chatml_with):
    words = chatml_with(PARTS)
    prompt = [in_parts(USER), in_parts(said("the film"))]
    ids, mask = encode_answer(words, prompt, [in_parts(said(": good"))])
    assert words.decode(ids).endswith("assistant\nthe film: good<|im_end|>")
    assert shown(words, ids, mask) == ": good<|im_end|>"
    image = {"role": "assistant", "content": [{"type": "image"}]}
    with pytest.raises(DataError, match="only be continued when its content is text"):
        encode_answer(words, [USER, image], [in_parts(said("a"))])


def test_a_template_that_doubles_bos_is_put_right(llama):
    once = encode_prompt(llama, [USER])
    original = llama.chat_template
    llama.chat_template = "{{ bos_token }}" + original
    try:
        assert encode_prompt(llama, [USER]) == once
    finally:
        llama.chat_template = original


def test_prompt_must_end_where_an_answer_can_follow(chatml):
    with pytest.raises(DataError, match="role system"):
        encode_prompt(chatml, [SYSTEM])


@pytest.mark.parametrize("name", ["chatml", "llama", "r1", "qwen3"])
def test_every_assistant_turn_is_learned_with_its_end(name, request):
    tokenizer = request.getfixturevalue(name)
    again = {"role": "user", "content": "the world"}
    messages = [SYSTEM, USER, said("good film"), again, said("<bad world")]
    ids, mask = encode_conversation(tokenizer, messages)
    learned = shown(tokenizer, ids, mask).replace("<think>\n\n</think>\n\n", "")
    assert learned == "good film<|im_end|><bad world<|im_end|>"
    rendered = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()
    assert tokenizer.decode(ids) == rendered


def test_reasoning_dropped_from_earlier_turns_is_refused(qwen3):
    qwen = "{% for m in messages %}{{ m['role'] + ':' }}{{ m['content'] if loop.last else "
    qwen += "m['content'].split('</think>')[-1] }}{{ eos_token }}{% endfor %}"
    qwen += "{% if add_generation_prompt %}assistant:{% endif %}"
    messages = [USER, said("<think>hm</think>good"), USER, said("bad")]
    original = qwen3.chat_template
    qwen3.chat_template = qwen
    try:
        with pytest.raises(DataError, match="rewrites"):
            encode_conversation(qwen3, messages)
    finally:
        qwen3.chat_template = original


def test_eos_is_appended_where_the_template_ends_otherwise(chatml):
    original = chatml.eos_token
    chatml.eos_token = "<|end|>"
    try:
        ids, mask = encode_answer(chatml, [USER], [said("good")])
        assert shown(chatml, ids, mask) == "good<|im_end|>\n<|end|>"
    finally:
        chatml.eos_token = original


def test_a_conversation_that_ends_with_the_user_learns_the_turns_before(chatml):
    ids, mask = encode_conversation(chatml, [USER, said("good"), USER])
    assert shown(chatml, ids, mask) == "good<|im_end|>"
    with pytest.raises(DataError, match="no assistant turn"):
        encode_conversation(chatml, [USER])


def test_messages_need_a_template_and_one_kind(plain, chatml):
    with pytest.raises(DataError, match="chat template"):
        encode_prompt(plain, [USER])
    with pytest.raises(DataError, match="both"):
        encode_answer(chatml, "text", [said("x")])


def test_options_reach_the_template(chatml):
    original = chatml.chat_template
    chatml.chat_template = "{{ mood }}{% for t in tools or [] %}{{ t.name }}{% endfor %}" + original
    try:
        ids = encode_prompt(chatml, [USER], {"mood": "glad ", "tools": [{"name": "clock"}]})
        assert chatml.decode(ids).startswith("glad clock<|im_start|>user")
    finally:
        chatml.chat_template = original


def test_a_template_that_refuses_gives_the_reason(chatml):
    original = chatml.chat_template
    chatml.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(DataError, match="roles must alternate"):
            encode_prompt(chatml, [USER])
    finally:
        chatml.chat_template = original


def test_decoding_leaves_special_tokens_out(llama):
    ids, _ = encode_answer(llama, "the film ", "was  good .")
    assert decode_response(llama, ids) == "the film was  good ."


def test_the_trained_tokenizers_own_template(tmp_path):
    tokenizer = train_tokenizer(["hello world"] * 3, 270)
    ids, mask = encode_conversation(tokenizer, [USER, said("hi"), USER, said("\nyou")])
    assert shown(tokenizer, ids, mask) == "hi<|eos|>\nyou<|eos|>"
    assert ids.count(tokenizer.bos_token_id) == 1


def test_turns_of_the_prompt_are_read_and_not_learned(chatml):
    # correctness 5: an assistant turn that stands in the prompt is context.
    prompt = [USER, said("the film"), USER]
    ids, mask = encode_answer(chatml, prompt, [said("good")])
    assert chatml.decode(ids).count("<|im_start|>assistant") == 2
    assert shown(chatml, ids, mask) == "good<|im_end|>"
