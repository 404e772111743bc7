"""What is learned of a conversation is what TRL's training templates mark, but for named reasons.

The oracle is transformers' `return_assistant_tokens_mask` over the generation marks in TRL's
templates. docs/data_formats.md names the differences; each has a function or a table here.
"""

from __future__ import annotations

import pytest
from jinja2 import TemplateError

from rlhf.data.chat import encode_conversation
from rlhf.errors import DataError
from tests.golden.chat_templates import TRAINED, shaped, source, tokenizer

CALLS = [{"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}]
THINK = "<think>\n\n</think>\n\n"


def user(text):
    return {"role": "user", "content": text}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


CONVERSATIONS = {
    "one turn": [user("Hi"), said("Hello there")],
    "turns": [user("Hi"), said("Hello"), user("More"), said("Bye")],
    "system": [{"role": "system", "content": "Be brief."}, user("Hi"), said("Hello")],
    "assistant first": [said("a"), user("Hi"), said("Hello")],
    "empty": [user("Hi"), said(""), user("More"), said("Bye")],
    "white space": [user("Hi"), said("  "), user("More"), said(" Bye \n")],
    "call": [user("Time?"), said("", tool_calls=CALLS)],
    "call and result": [
        user("Time?"),
        said("", tool_calls=CALLS),
        {"role": "tool", "name": "clock", "content": "12:00"},
        said("Noon"),
    ],
    "reasoning in the text": [user("Hi"), said("<think>\nhm\n</think>\n\nHello")],
    "reasoning": [user("Hi"), said("Hello", reasoning_content="hm")],
    "reasoning in turns": [
        user("Hi"),
        said("Hello", reasoning_content="hm"),
        user("More"),
        said("Bye", reasoning_content="ha"),
    ],
    "letters": [user("caf\u00e9 \u4e2d"), said("\U0001f600 \u00fc\u0301 \u200d x")],
    "the same twice": [user("Hello"), said("Hello"), user("Hello"), said("Hello")],
    "typed tokens": [user("a<|im_end|>b"), said("x<|im_end|>y<end_of_turn>")],
    "two answers": [user("Hi"), said("one"), said("two"), user("q"), said("three")],
    "user last": [user("Hi"), said("Hello"), user("More")],
}

REFUSED = {
    # The template drops reasoning of earlier turns; TRL's variant learns the turn without it, or
    # writes all reasoning.
    **{
        (name, "reasoning in turns"): "rewrites message 2"
        for name in TRAINED
        if name.startswith(("diffusion", "glm", "gptoss", "lfm2_2_5", "nemotron", "qwen3"))
        and name not in ("qwen3_8", "qwen3_vl", "qwen3_instruct_2507")
    },
    # The model's template wants arguments as JSON text; TRL's variant writes objects as JSON.
    ("deepseekv3", "call"): 'concatenate str \\(not "dict"\\)',
    ("deepseekv3", "call and result"): 'concatenate str \\(not "dict"\\)',
}
OTHERWISE = {
    # Between two answers this template writes no end; TRL's variant writes the header of a user.
    ("glm4moe", "two answers"): [
        "\n<think></think>\none",
        "\n<think></think>\ntwo<|user|>",
        "\n<think></think>\nthree<|endoftext|>",
    ],
    # TRL's variant keeps reasoning that the model's template drops.
    ("deepseek_r1_distill", "reasoning in the text"): [
        "\n\nHello<\uff5cend\u2581of\u2581sentence\uff5c>"
    ],
    # The token that hands over to a tool is a stop of the model, so it is learned.
    ("diffusion_gemma", "call"): [
        '<|tool_call>call:clock{zone:<|"|>UTC<|"|>}<tool_call|><|tool_response><eos>'
    ],
}


def runs(words, ids, mask):
    """Return the text of each stretch of learned tokens."""
    found, before = [], False
    for token, learned in zip(ids, mask, strict=True):
        if learned and not before:
            found.append([])
        if learned:
            found[-1].append(token)
        before = learned
    return [words.decode(run) for run in found]


def trl_runs(words, name, messages):
    """Return TRL's rendering and the text of each stretch that it marks; None where it refuses."""
    try:
        out = words.apply_chat_template(
            messages,
            chat_template=source(f"{name}_training"),
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
    except (TemplateError, TypeError):
        return None
    return words.decode(out["input_ids"]), runs(words, out["input_ids"], out["assistant_masks"])


def headers(words, name, messages):
    """Return what the template writes to ask for an answer, after a user and in each place."""
    found = [""]
    mark = shaped(name, [user("\u00a7")])[0]
    places = (messages[:end] for end in range(1, len(messages)))
    marked = ([*place[:-1], {**mark, "role": place[-1]["role"]}] for place in places)
    for upto in ([mark], *marked):
        try:
            text = words.apply_chat_template(upto, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            continue
        found.append(text.rpartition("\u00a7")[2])
    return found


def same(theirs, ours, asked, end):
    """Compare one turn of TRL's with ours, but for what the documentation names."""
    # White space behind the end-of-turn token, which nobody generates.
    theirs, ours = theirs.rstrip(), ours.rstrip()
    if theirs == ours:
        return True
    # EOS, which ends the last turn here where the template writes none; TRL's GLM writes the
    # header of a turn that might follow.
    bare = ours.removesuffix(end).rstrip()
    ends = ("", end, "<|user|>", "<|observation|>") if ours.endswith(end) else ("",)
    for written in ends:
        body = theirs.removesuffix(written).rstrip() if theirs.endswith(written) else None
        for mine in (ours, bare):
            # What the header of a prompt has written already.
            if body is not None and body.endswith(mine):
                before = body[: len(body) - len(mine)]
                if any(before in header for header in asked):
                    return True
    return False


@pytest.mark.parametrize("name", TRAINED)
def test_learned_turns_are_those_of_trl(name):
    words = tokenizer(name)
    for kind, conversation in CONVERSATIONS.items():
        messages = shaped(name, conversation)
        theirs = trl_runs(words, name, messages)
        reason = REFUSED.get((name, kind))
        if theirs is None or reason:
            with pytest.raises(DataError, match=reason):
                encode_conversation(words, messages)
            continue
        ids, mask = encode_conversation(words, messages)
        ours = runs(words, ids, mask)
        if (name, kind) in OTHERWISE:
            assert ours == OTHERWISE[name, kind], kind
            continue
        text, marked = theirs
        asked = headers(words, name, messages)
        if text != words.apply_chat_template(messages, tokenize=False):
            # TRL's variant writes an empty thinking block into every turn.
            marked = [turn.removeprefix(THINK) for turn in marked]
            ours = [turn.removeprefix(THINK).removeprefix(THINK[8:]) for turn in ours]
            asked = [header.replace(THINK, "") for header in asked]
        assert len(ours) >= len(marked), kind
        if len(ours) > len(marked):
            # TRL counts headers, or white space, between two answers in a row.
            marked, ours = ["".join(marked)], ["".join(ours)]
            for header in ("<|start|>assistant", "<\uff5cAssistant\uff5c>", " "):
                marked = [turn.replace(header, "") for turn in marked]
                ours = [turn.replace(header, "") for turn in ours]
        for turn, mine in zip(marked, ours, strict=True):
            assert same(turn, mine, asked, words.eos_token), (kind, turn, mine)
