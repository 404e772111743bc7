"""Turns: what is learned under templates of many kinds, given by hand."""

from __future__ import annotations

import pytest

from rlhf.data.chat import encode_answer, encode_conversation, encode_ending
from rlhf.errors import DataError

END = "<|im_end|>"
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}"
    "{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
INST_BOS = INST.replace("{{ bos_token }}", "").replace("{{ '[INST] '", "{{ bos_token + '[INST] '")
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role | capitalize + ': ' + m.content }}"
    "{{ eos_token if m.role == 'assistant' else '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
NEXT_ENDS = (
    "{% for m in messages %}{{ '<|User|>' if m.role == 'user' else '<|Assistant|>' }}"
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|>' }}{% endif %}"
)
NO_LOOP_VARIABLE = (
    "{% for i in range(messages | length) %}{{ '<|im_start|>' + messages[i].role + '\n' }}"
    "{{ messages[i].content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ASKED_IN_LOOP = (  # OLMo 2; Granite 3, Falcon 3, StarChat and Zephyr as published ask there, too
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|>\n' + m.content }}"
    "{{ eos_token }}{{ '' if loop.last else '\n' }}"
    "{% else %}{{ '<|' + m.role + '|>\n' + m.content + '\n' }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}"
)
NEIGHBOURS = (
    "{% for i in range(messages | length) %}{% set m = messages[i] %}"
    "{% set before = messages[i - 1] if i else m %}{% set after = messages[i + 1] %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PAIRS = (
    "{% for m in messages if m.role == 'user' %}{% set at = loop.index0 * 2 + 1 %}"
    "{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% if messages[at] %}{{ messages[at].content + eos_token }}{% endif %}{% endfor %}"
)
JOINED = (
    "{% set all = namespace(text='') %}{% for m in messages %}"
    "{% set all.text = all.text + '<|' + m.role + '|>' + m.content + '<|end|>' %}{% endfor %}"
    "{{ all.text }}{{ '<|assistant|>' if add_generation_prompt }}"
)
OTHER_END = ZEPHYR.replace("eos_token + '\n'", "'<|end|>\n'")


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def turns(words, messages):
    """Return the text of each stretch of learned tokens."""
    ids, mask = encode_conversation(words, messages)
    found, before = [], False
    for token, learned in zip(ids, mask, strict=True):
        if learned:
            found = found if before else [*found, []]
            found[-1].append(token)
        before = learned
    return [words.decode(turn) for turn in found]


TALK = [user("good"), said("good"), user("film"), said("the film")]
WANTED = {
    "smollm2": (SMOLLM2, {}, [f"good{END}", f"the film{END}"]),
    "inst": (INST, {"bos": True}, [f" good {END}", f" the film {END}"]),
    "inst with bos in turns": (INST_BOS, {"bos": True}, [f" good {END}", f" the film {END}"]),
    "zephyr": (ZEPHYR, {"eos": "</s>"}, ["good</s>", "the film</s>"]),
    "plain": (PLAIN, {"eos": "</s>"}, [" good</s>", " the film</s>"]),
    "the next turn ends it": (NEXT_ENDS, {}, ["good<|User|>", f"the film{END}"]),
    "no loop variable": (NO_LOOP_VARIABLE, {}, [f"good{END}", f"the film{END}"]),
    "asked within the loop": (ASKED_IN_LOOP, {"eos": "</s>"}, ["good</s>", "the film</s>"]),
    "a loop that looks around": (NEIGHBOURS, {}, [f"good{END}", f"the film{END}"]),
    "written behind the loop": (JOINED, {"eos": "<|end|>"}, ["good<|end|>", "the film<|end|>"]),
    "another end": (OTHER_END, {}, ["good<|end|>", f"the film<|end|>\n{END}"]),
}


@pytest.mark.parametrize("kind", WANTED)
def test_a_turn_is_what_follows_its_header(chatml_with, kind):
    template, made, wanted = WANTED[kind]
    assert turns(chatml_with(template, **made), TALK) == wanted


def test_a_turn_that_another_message_wrote_is_learned(chatml_with):
    assert turns(chatml_with(PAIRS), TALK) == [f"good{END}", f"the film{END}"]
    with pytest.raises(DataError, match="rewrites message 1"):
        turns(chatml_with(PAIRS), TALK[1:])


def test_a_template_that_shows_no_answer_is_refused(chatml_with):
    deaf = "{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}"
    with pytest.raises(DataError):
        turns(chatml_with(deaf), TALK)


@pytest.mark.parametrize("kind", WANTED)
def test_the_first_turn_may_be_the_assistants(chatml_with, kind):
    # Neither a default system prompt nor BOS is learned, and never a text's first token.
    template, made, wanted = WANTED[kind]
    if kind == "inst with bos in turns":
        wanted = [f" {END}", wanted[1]]
    words = chatml_with(template, **made)
    assert turns(words, [said("good"), *TALK[2:]]) == wanted
    assert turns(words, [said("the film")])[-1].strip() == wanted[-1].strip()


@pytest.mark.parametrize("kind", WANTED)
def test_an_ending_is_what_stands_behind_an_answer(chatml_with, kind):
    template, made, _ = WANTED[kind]
    words = chatml_with(template, **made)
    ids, _ = encode_answer(words, TALK[:1], [said("\u00e9")])
    end = encode_ending(words, TALK[:1])
    assert ids[-len(end) :] == end
    assert words.decode(ids[: -len(end)]).endswith("\u00e9")
    if kind != "inst with bos in turns":
        assert encode_ending(words, [*TALK[:1], said("the")]) == end


def test_a_turn_that_the_next_header_would_end_borrows_no_answers(chatml_with):
    words = chatml_with(NEXT_ENDS)
    assert turns(words, [user("a"), said("b"), said("c"), user("d"), said("e")]) == [
        "b",
        "c<|User|>",
        f"e{END}",
    ]


def test_parts_are_learned_as_text_is(chatml_with):
    template = SMOLLM2.replace("message['content']", "message['content'][0]['text']")
    parts = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in TALK]
    assert turns(chatml_with(template), parts) == WANTED["smollm2"][2]


def test_what_every_rendering_leaves_out_is_no_loss(chatml_with):
    dropped = SMOLLM2.replace("message['content']", "message['content'].split('</think>')[-1]")
    talk = [user("a"), said("<think>hm</think>good"), user("b"), said("film")]
    assert turns(chatml_with(dropped), talk) == [f"good{END}", f"film{END}"]


@pytest.mark.parametrize("template", [SMOLLM2, NO_LOOP_VARIABLE])
def test_what_is_lost_once_others_follow_is_refused(chatml_with, template):
    for content in ("message['content']", "messages[i].content"):
        kept = f"({content} if loop.last else {content}.split('</think>')[-1])"
        template = template.replace(content, kept)
    talk = [user("a"), said("<think>hm</think>good"), user("b"), said("film")]
    with pytest.raises(DataError, match="rewrites message 2"):
        encode_conversation(chatml_with(template), talk)
    assert turns(chatml_with(template), talk[:2]) == [f"<think>hm</think>good{END}"]
