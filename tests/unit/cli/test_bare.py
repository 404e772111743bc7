"""A bare file is shown as what its columns say; another bare word is answered with its remedy."""

from __future__ import annotations

import json

import pytest

from rlhf.cli.bare import settings_of
from rlhf.errors import ConfigError, DataError

ROWS = {
    "chat.jsonl": {"messages": [{"role": "user", "content": "a"}]},
    "pairs.jsonl": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "prompts.jsonl": {"prompt": "a", "answer": 7},
    "odd.jsonl": {"question": "a", "n": 7},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name, row in ROWS.items():
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text("words")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("chat.jsonl", "demonstrations"),
        ("pairs.jsonl", "preferences"),
        ("prompts.jsonl", "prompts"),
        ("notes", "demonstrations"),
    ],
)
def test_a_bare_file_is_what_its_columns_say(place, word, kind, capsys):
    assert settings_of("data", ["seed=1", word]) == ["seed=1", f"data.{kind}={word}"]
    assert capsys.readouterr().err == (
        f"rlhf: {word} is shown as data.{kind}; as another kind: rlhf data data.KIND={word}\n"
    )


def test_several_files_of_one_kind_are_a_mixture(place):
    (place / "more.jsonl").write_text(json.dumps(ROWS["chat.jsonl"]) + "\n")
    found = settings_of("data", ["chat.jsonl", "pairs.jsonl", "more.jsonl"])
    assert found == [
        "data.demonstrations=['chat.jsonl','more.jsonl']",
        "data.preferences=pairs.jsonl",
    ]


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("data", ["odd.jsonl"], "name it, such as rlhf data data.demonstrations=odd.jsonl"),
        ("data", ["chat.jsonl", "data.demonstrations=x.csv"], "name both in data.demonstrations"),
        ("data", ["nothing"], "nothing: not a setting; give KEY=VALUE"),
        ("sft", ["chat.jsonl"], "such as data.demonstrations=chat.jsonl"),
        ("data curve", ["pairs.jsonl"], "such as data.preferences=pairs.jsonl"),
        ("ppo", ["quickstart"], "is recipe=quickstart meant?"),
        ("report", ["run"], "the folder of a run is named run_dir=run"),
    ],
)
def test_what_is_not_clear_is_answered_with_the_remedy(place, command, words, said):
    (place / "run").mkdir()
    (place / "run/run.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        settings_of(command, words)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(place):
    with pytest.raises(DataError, match=r"^gone.jsonl: no such file"):
        settings_of("data", ["gone.jsonl"])


def test_words_that_belong_to_flags_are_left_alone(place):
    words = ["--cfg", "job", "-m", "seed=1", "~recipe", "--resolve"]
    assert settings_of("ppo", words) == words
