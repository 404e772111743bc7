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


MAPPED = [
    ("data.columns={prompt: question, completion: answer}", "demonstrations"),
    ("+data.columns={prompt: question, chosen: good, rejected: bad}", "preferences"),
    ("data.columns.prompt=question", "prompts"),
    ("data.prompt_template=Ask: {question}", "prompts"),
]


@pytest.mark.parametrize(("typed", "kind"), MAPPED)
def test_a_bare_file_is_what_data_columns_say(place, typed, kind, capsys):
    (place / "t.csv").write_text("id,question,answer,good,bad\n1,a,b,c,d\n")
    assert settings_of("data", ["t.csv", typed]) == [typed, f"data.{kind}=t.csv"]
    assert f"t.csv is shown as data.{kind}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id,question,answer,category", "'data.columns={prompt: question, completion: answer}'"),
        ("question,good,bad", "'data.columns={prompt: question, chosen: good, rejected: bad}'"),
        ("instruction,n", "'data.columns={prompt: instruction}'"),
    ],
)
def test_the_error_ends_with_the_columns_that_would_read_it_behind_the_same_command(
    place, header, said
):
    (place / "t.csv").write_text(f"{header}\n{','.join('abcd'[: header.count(',') + 1])}\n")
    with pytest.raises(ConfigError, match="do not say what it is") as caught:
        settings_of("data", ["t.csv"])
    assert str(caught.value).endswith(f"type behind the same command: {said}")
    settings_of("data", ["t.csv", said.strip("'")])


def test_a_column_that_is_not_there_is_named_and_a_wrong_setting_left_to_its_check(place):
    with pytest.raises(DataError, match=r"data\.columns\.prompt=qestion, but its columns are"):
        settings_of("data", ["odd.jsonl", "data.columns={prompt: qestion}"])
    wrong = "data.columns={promt: question}"
    assert settings_of("data", ["odd.jsonl", wrong])[0] == wrong


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
