"""Public layouts mean what their authors meant; rows are made by hand after published schemas."""

from __future__ import annotations

import pytest

from rlhf.config.data import DataConfig
from rlhf.data import demonstrations, preferences, prompts
from rlhf.data.examples import Form, read_examples
from rlhf.errors import DataError

FORMS = {
    "demonstrations": (demonstrations.LEGAL, demonstrations.parse_demonstration),
    "preferences": (preferences.LEGAL, preferences.parse_ranking),
    "prompts": (prompts.LEGAL, prompts.parse_prompt),
}


@pytest.fixture
def understood(write):
    """Return [(prompt, answers best first)] of rows read for a kind of data."""

    def read(kind, rows, *, chats=True, **settings):
        path = write(f"{kind}.jsonl", rows)
        config = DataConfig(**{kind: path, **settings})
        found = read_examples(config, Form(kind, *FORMS[kind], chats))
        return [(example.asked.prompt, list(example.asked.answers)) for example in found]

    return read


def asked(*texts, system=None):
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def said(text):
    return [{"role": "assistant", "content": text}]


HH = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: what is rain?\n\nAssistant: "
RATED = {"correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 1}
POST = {"id": "t3_1", "post": "I am\n\nlost", "title": "Help", "subreddit": "advice", "site": None}
TLDR = "SUBREDDIT: r/advice\n\nTITLE: Help\n\nPOST: I am\nlost\n\nTL;DR:"
CNN = {"id": "c1", "article": "It rained.\n\nMuch.", "title": "Rain", "post": None}


def tree(text, role, replies=(), rank=None, **more):
    return {"text": text, "role": role, "replies": list(replies), "rank": rank, **more}


ROOT = tree(
    "what is rain?",
    "prompter",
    [
        tree("mud", "assistant", rank=2),
        tree("water", "assistant", [tree("and snow?", "prompter", [tree("ice", "assistant")])], 0),
        tree("wet", "assistant", rank=1),
        tree("spam", "assistant", rank=3, deleted=True),
    ],
)

PAIRS = [
    (
        "Alpaca",
        {"instruction": "Sum it.", "input": "1 2", "chosen": "3", "rejected": "4"},
        (asked("Sum it.\n\n1 2"), ["3", "4"]),
    ),
    ("HH-RLHF", {"chosen": HH + "Water.", "rejected": HH + "Mud."},
     (asked("hi", "hello", "what is rain?"), ["Water.", "Mud."])),
    (
        "UltraFeedback",
        {
            "source": "flan",
            "instruction": "what is rain?",
            "models": ["a", "b", "c"],
            "completions": [
                {"model": "a", "response": "mud", "overall_score": 2.0},
                {"model": "b", "response": "water", "overall_score": 8.5},
                {"model": "c", "response": "wet", "overall_score": 5.0},
            ],
        },
        (asked("what is rain?"), ["water", "wet", "mud"]),
    ),
    (
        "UltraFeedback (binarized)",
        {
            "prompt": "what is rain?",
            "prompt_id": "0a",
            "chosen": asked("what is rain?", "water"),
            "rejected": asked("what is rain?", "mud"),
            "messages": asked("what is rain?", "water"),
            "score_chosen": 8.0,
            "score_rejected": 3.0,
        },
        (asked("what is rain?"), ["water", "mud"]),
    ),
    (
        "HelpSteer2 (preference)",
        {"prompt": "hi\n\n<extra_id_1>Assistant\nhello\n<extra_id_1>User\nrain?",
         "response_1": "water", "response_2": "mud", "preference_strength": -2},
        (asked("hi", "hello", "rain?"), ["water", "mud"]),
    ),
    (
        "HelpSteer3",
        {"domain": "general", "context": asked("hi", "hello", "rain?"), "response1": "mud",
         "response2": "water", "overall_preference": 3, "individual_preference": []},
        (asked("hi", "hello", "rain?"), ["water", "mud"]),
    ),
    (
        "HelpSteer3",
        {"domain": "general", "context": asked("rain?"), "response1": "water",
         "response2": "mud", "overall_preference": -1, "individual_preference": []},
        (asked("rain?"), ["water", "mud"]),
    ),
    (
        "SHP",
        {"post_id": "x", "history": "rain?", "human_ref_A": "water", "human_ref_B": "mud",
         "labels": 1, "score_A": 9, "score_B": 2},
        (asked("rain?"), ["water", "mud"]),
    ),
    (
        "SHP",
        {"post_id": "x", "history": "rain?", "human_ref_A": "mud", "human_ref_B": "water",
         "labels": 0, "score_A": 2, "score_B": 9},
        (asked("rain?"), ["water", "mud"]),
    ),
    ("summarize-from-feedback",
     {"info": POST, "summaries": [{"text": " lost"}, {"text": " help me"}], "choice": 1,
      "worker": "w", "batch": "batch4", "split": "train"}, (TLDR, [" help me", " lost"])),
    ("summarize-from-feedback",
     {"info": CNN, "summaries": {"text": [" wet", " dry"], "policy": ["a", "b"]}, "choice": 0,
      "worker": "w", "batch": "cnndm2", "split": "valid2"},
     ("TITLE: Rain\n\nIt rained.\nMuch.\n\nTL;DR:", [" wet", " dry"])),
    (
        "PKU-SafeRLHF",
        {"prompt": "rain?", "response_0": "mud", "response_1": "water",
         "is_response_0_safe": True, "is_response_1_safe": True, "better_response_id": 1,
         "safer_response_id": 0},
        (asked("rain?"), ["water", "mud"]),
    ),
    (
        "webgpt",
        {"question": {"dataset": "eli5", "id": "1", "full_text": "rain?"},
         "quotes_0": {"title": [], "extract": []}, "answer_0": "mud", "score_0": -0.5,
         "answer_1": "water [1]", "score_1": 0.5},
        (asked("rain?"), ["water [1]", "mud"]),
    ),
    (
        "Nectar",
        {"prompt": "\n\nHuman: rain?\n\nAssistant: ", "turns": 1, "good_natured": True,
         "answers": [{"answer": "wet", "model": "a", "rank": 2.0},
                     {"answer": "mud", "model": "b", "rank": 7.0},
                     {"answer": "water", "model": "c", "rank": 1.0}]},
        (asked("rain?"), ["water", "wet", "mud"]),
    ),
    (
        "orca-dpo",
        {"system": "Be brief.", "question": "rain?", "chosen": "water", "rejected": "mud"},
        (asked("rain?", system="Be brief."), ["water", "mud"]),
    ),
    (
        "orca-dpo",
        {"system": "", "question": "rain?", "chosen": "water", "rejected": "mud"},
        (asked("rain?"), ["water", "mud"]),
    ),
    ("oasst", {"message_tree_id": "t", "tree_state": "ready", "prompt": ROOT},
     (asked("what is rain?"), ["water", "wet", "mud"])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "meant"), PAIRS)
def test_rankings_mean_what_their_authors_meant(name, row, meant, understood, caplog):
    prompt, answers = meant
    plain = isinstance(prompt, str)
    assert understood("preferences", [row]) == [
        (prompt, answers if plain else [said(text) for text in answers])
    ]
    assert f"reading as: {name}" in caplog.text


@pytest.mark.parametrize(("name", "row", "meant"), PAIRS[1:-1])
def test_the_best_answer_is_imitated_and_the_prompt_is_asked(name, row, meant, understood, caplog):
    prompt, answers = meant
    best = answers[0] if isinstance(prompt, str) else said(answers[0])
    if name != "UltraFeedback (binarized)":
        assert understood("demonstrations", [row]) == [(prompt, [best])]
    assert understood("prompts", [row]) == [(prompt, [])]
    assert f"reading as: {name}" in caplog.text


def test_alpaca_and_sharegpt_are_demonstrations(understood, caplog):
    rows = [
        {"instruction": "Name it.", "input": "", "output": "Rain", "text": "### Instruction: ..."},
        {"instruction": "Sum it.", "input": "1 2", "output": "3", "text": "### Instruction: ..."},
    ]
    assert understood("demonstrations", rows) == [
        (asked("Name it."), [said("Rain")]),
        (asked("Sum it.\n\n1 2"), [said("3")]),
    ]
    turns = [("system", "Be brief."), ("human", "rain?"), ("gpt", "water"), ("human", "and?"),
             ("gpt", "ice")]  # fmt: skip
    chat = {"id": "1", "conversations": [{"from": who, "value": text} for who, text in turns]}
    whole = asked("rain?", "water", "and?", "ice", system="Be brief.")
    assert understood("demonstrations", [chat]) == [(None, [whole])]
    assert understood("prompts", [chat]) == [(whole[:-1], [])]
    assert "reading as: Alpaca" in caplog.text
    assert "reading as: ShareGPT" in caplog.text
    with pytest.raises(DataError, match="reading as: Alpaca: none of its 2 rows makes preferences"):
        understood("preferences", rows)


def test_ratings_of_one_prompt_are_ranked_together(understood, caplog):
    rows = [
        {"prompt": "rain?", "response": text, "helpfulness": helpful, **RATED}
        for text, helpful in (("mud", 0), ("water", 4), ("wet", 2), ("damp", 2))
    ]
    same = [{**rows[0], "prompt": "snow?", "response": text} for text in ("a", "b")]
    assert understood("preferences", [*rows, *same]) == [
        (asked("rain?"), [said("water"), said("wet"), said("mud")])
    ]
    assert "its 6 rows make 1 preferences; 1 without a better answer are left out" in caplog.text


def test_a_tree_is_the_same_whole_or_a_message_a_row(understood):
    def flat(message, parent=None):
        name = message["text"]
        yield {"message_id": name, "parent_id": parent, "message_tree_id": "t", "deleted": False,
               **{k: v for k, v in message.items() if k != "replies"}}  # fmt: skip
        for reply in message["replies"]:
            yield from flat(reply, name)

    whole = [{"message_tree_id": "t", "prompt": ROOT}]
    rows = list(flat(ROOT))[::-1]
    follow_up = asked("what is rain?", "water", "and snow?")
    assert understood("demonstrations", whole) == [
        (asked("what is rain?"), [said("water")]),
        (follow_up, [said("ice")]),
    ]
    for kind in FORMS:
        assert understood(kind, rows) == understood(kind, whole)
    assert len(understood("prompts", rows)) == 2
    circle = [{**row, "parent_id": row["parent_id"] or "ice"} for row in rows]
    with pytest.raises(DataError, match="parent_id: no message of its tree is without one"):
        understood("prompts", circle)


@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), ("True", "false")])
def test_bad_completions_are_ranked_below_good_ones_and_not_imitated(yes, no, understood, caplog):
    rows = [
        {"prompt": "rain?", "completion": "mud", "label": no},
        {"prompt": "rain?", "completion": "water", "label": yes},
        {"prompt": "snow?", "completion": "salt", "label": no},
    ]
    assert understood("demonstrations", rows) == [("rain?", ["water"])]
    assert "3 rows make 1 demonstrations; completions with label=false are not" in caplog.text
    assert understood("preferences", rows) == [("rain?", ["water", "mud"])]
    assert len(understood("prompts", rows)) == 3
    with pytest.raises(DataError, match="label is null"):
        understood("demonstrations", [*rows, {**rows[0], "label": None}])


def test_without_a_chat_template_layouts_are_read_as_dialogues(understood, caplog):
    row = {"chosen": HH + "Water.", "rejected": HH + "Mud."}
    prompt, answers = understood("preferences", [row], chats=False)[0]
    assert [prompt + answer for answer in answers] == [row["chosen"], row["rejected"]]
    assert "as text, since the tokenizer has no chat template" in caplog.text
    row = {"system": "", "question": "rain?", "chosen": "water", "rejected": "mud"}
    asks = "\n\nHuman: rain?\n\nAssistant:"
    assert understood("preferences", [row], chats=False) == [(asks, [" water", " mud"])]
    assert understood("prompts", [row], chats=False) == [(asks, [])]


WRONG = [
    ({"labels": 2}, "labels=2; it must be one of 0, 1"),
    ({"labels": "x"}, "labels=x; it must be a finite number"),
    ({"history": ""}, "history is empty"),
    ({"human_ref_A": ["x"]}, r"human_ref_A\[0\] is of type str"),
    ({"human_ref_B": None}, "human_ref_B is empty"),
    ({"question": "rain?", "answer_0": "a", "answer_1": "b", "score_0": 1, "score_1": 0},
     "are those of SHP or webgpt; say by data.columns"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), WRONG)
def test_a_wrong_row_names_its_line_and_the_files_own_column(change, reason, understood):
    row = {"history": "rain?", "human_ref_A": "water", "human_ref_B": "mud", "labels": 1}
    with pytest.raises(DataError, match=rf"preferences\.jsonl:2: .*{reason}"):
        understood("preferences", [row, {**row, **change}])


def test_columns_that_are_mapped_are_no_layout(understood, caplog):
    row = {"history": "rain?", "human_ref_A": "water", "human_ref_B": "mud", "labels": 0}
    names = {"prompt": "history", "chosen": "human_ref_A", "rejected": "human_ref_B"}
    assert understood("preferences", [row], columns=names) == [("rain?", ["water", "mud"])]
    assert "reading as" not in caplog.text
