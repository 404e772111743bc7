"""One prompt has one key and so one side, whichever form its rows give it in."""

from __future__ import annotations

import pytest

from rlhf.data.canonical import key_of
from rlhf.data.demonstrations import load_demonstrations
from rlhf.data.preferences import load_rankings
from rlhf.data.prompts import load_prompts

ASKED = "What is a film?"
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": ASKED}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good film", "bad film"))
MORE = [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "no"}]
FORMS = [
    ASKED,
    f" {ASKED} \n",
    "What is  a\tfilm?",
    [USER],
    [{"role": "user", "content": f"{ASKED}\n"}],
    [{"role": "user", "content": [{"type": "text", "text": ASKED}]}],
    [SYSTEM, USER],
    [USER, GOOD],
    [USER, GOOD, *MORE],
    f"{ASKED}\nAnswer:",
    f"\n\nHuman: {ASKED}\n\nAssistant:",
    f"\n\nHuman: {ASKED}\n\nAssistant: good film\n\nHuman: And then?\n\nAssistant:",
    f"Human: {ASKED}\nAssistant: ",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_prompt_has_the_plain_texts_key(form):
    assert key_of(form) == ASKED


def test_other_prompts_have_other_keys():
    image = {"type": "image", "url": "a.png"}
    others = [
        "What is a film",
        "Answer:",
        [{"role": "user", "content": "And then?"}],
        [{"role": "user", "content": [image]}],
        [{"role": "user", "content": [{**image, "url": "b.png"}]}],
        [GOOD],
        [BAD],
    ]
    assert len({key_of(form) for form in [ASKED, *others]}) == len(others) + 1
    assert key_of("Answer:") == "Answer:"
    assert key_of([{"content": "a", "role": "tool"}]) == key_of([{"role": "tool", "content": "a"}])


def test_no_held_out_prompt_is_trained_on_in_another_form(chatml, write, configured):
    asked = [f"film {n}?" for n in range(120)]
    users = [{"role": "user", "content": text} for text in asked]
    demonstrations = [
        write("chats.jsonl", [{"messages": [user, GOOD, *MORE]} for user in users[::3]]),
        write("texts.jsonl", [{"prompt": f"{t} ", "completion": "good"} for t in asked[1::3]]),
        write("told.jsonl", [{"messages": [SYSTEM, user, GOOD]} for user in users[2::3]]),
    ]
    preferences = [
        write("pairs.jsonl", [{"chosen": [u, GOOD], "rejected": [u, BAD]} for u in users[::2]]),
        write("lines.jsonl", [{"chosen": f"{t}\na", "rejected": f"{t}\nb"} for t in asked[1::2]]),
    ]
    config = configured(
        demonstrations=demonstrations,
        preferences=preferences,
        prompts=write("prompts.jsonl", [{"prompt": text} for text in asked]),
        validation_fraction=0.3,
        test_fraction=0.3,
    )
    prompts = load_prompts(config, chatml)
    held_out = {str(text) for side in (prompts.validation, prompts.test) for text in side.prompts}
    assert 40 < len(held_out) < 100
    learned = [*load_demonstrations(config, chatml).train.tokens_BT.tolist()]
    learned += load_rankings(config, chatml).train.tokens_BKT[:, 0].tolist()
    trained = "\n".join(chatml.decode(row) for row in learned)
    assert not [text for text in held_out if text in trained]
    assert all(text in trained for text in {*asked} - held_out)
