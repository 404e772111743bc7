"""Prompt template: prompts are what str.format makes of the columns, and what is amiss is told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlhf.config.data import DataConfig, SourceConfig
from rlhf.data.demonstrations import load_demonstrations, prepare_demonstrations
from rlhf.data.prompts import load_prompts
from rlhf.errors import DataError

TEMPLATE = "{{Summarize}}: {article} ({year})\nA:"
ROW = {"article": "The film {was} good", "year": 2001, "completion": " good"}


def asked(config, tokenizer):
    return [
        entry.example.asked.prompt for entry in prepare_demonstrations(config, tokenizer).entries
    ]


def test_prompts_are_what_the_columns_make_of_the_template(plain, write, configured):
    config = configured(demonstrations=write("a.jsonl", [ROW]), prompt_template=TEMPLATE)
    assert asked(config, plain) == [TEMPLATE.format(**ROW)]


def test_names_given_by_columns_count_and_a_source_has_its_own(plain, write, configured):
    rows = [{"q": "film", "a": " good"}]
    one, two = write("a.jsonl", rows), write("b.jsonl", rows)
    config = configured(
        demonstrations=[one, {"path": two, "prompt_template": "B {q}"}],
        prompt_template="A {q}",
        columns={"completion": "a"},
    )
    assert asked(config, plain) == ["A film", "B film"]
    assert SourceConfig(path=two, prompt_template="B {q}").prompt_template == "B {q}"


def test_names_of_the_file_count_after_columns_has_renamed_them(plain, write, configured):
    path = write("a.jsonl", [{"question": "film", "why": "it", "answer": " good"}])
    columns = {"prompt": "question", "completion": "answer"}
    one = configured(demonstrations=path, prompt_template="Q {question} {why}", columns=columns)
    assert asked(one, plain) == ["Q film it"]
    two = configured(demonstrations=path, prompt_template="Q {prompt} {why}", columns=columns)
    assert asked(two, plain) == ["Q film it"]


@pytest.mark.parametrize(
    ("typed", "made"),
    [
        (r"Q: {q}\nA:", "Q: film\nA:"),
        ("Q: {q}\nA:", "Q: film\nA:"),
        (r"{q}\n\n", "film\n\n"),
        (r"{q} \\nu \boxed", r"film \nu \boxed"),
    ],
)
def test_a_line_break_can_be_typed_as_two_letters(typed, made, plain, write, configured):
    path = write("a.jsonl", [{"q": "film", "completion": " good"}])
    assert asked(configured(demonstrations=path, prompt_template=typed), plain) == [made]


def test_a_column_with_a_dot_in_its_name_is_a_column(plain, write, configured):
    path = write("a.jsonl", [{"user.text": "film", "completion": " good"}])
    assert asked(configured(demonstrations=path, prompt_template="{user.text}?"), plain) == [
        "film?"
    ]


def test_of_prompts_the_columns_still_reach_the_reward_function(plain, write, configured):
    path = write("p.jsonl", [{"article": "film", "year": 1}])
    batch = load_prompts(configured(prompts=path, prompt_template="Q {article}"), plain).train
    assert batch.prompts == ("Q film",)
    assert batch.columns == ({"article": "film", "year": 1},)


@pytest.mark.parametrize(
    ("row", "template", "said"),
    [
        (
            {"article": "", "completion": " a"},
            "{article}",
            "a.jsonl:2: article of data.prompt_temp",
        ),
        ({"article": ["x"], "completion": " a"}, "{article}", "is of type list; it must be text"),
        (
            {**ROW, "prompt": "own"},
            "{article}",
            "has a prompt that data.prompt_template would replac",
        ),
        (ROW, "{articel}", "names articel, but its columns are article, .*; nearest: article"),
    ],
)
def test_what_cannot_be_filled_in_is_told(row, template, said, plain, write, configured):
    path = write("a.jsonl", [ROW, row])
    with pytest.raises(DataError, match=said):
        load_demonstrations(configured(demonstrations=path, prompt_template=template), plain)


def test_documents_and_pretraining_have_no_prompt_to_make(plain, tmp_path, write, configured):
    (tmp_path / "a.md").write_text("# The film\n\nIt was *good*.\n")
    config = configured(
        demonstrations=[str(tmp_path / "a.md"), write("a.jsonl", [ROW])],
        prompt_template="{article}",
    )
    found = load_demonstrations(config, plain).train
    assert plain.decode(found.tokens_BT[1, : found.lengths_B[1]]).startswith("# The film\n\nIt was")


@pytest.mark.parametrize("template", ["no column", "{}", "{a!r}", "{a:>5}", "{a", ""])
def test_templates_that_name_no_column_are_no_setting(template):
    with pytest.raises(ValidationError, match="column|brace|expected"):
        DataConfig(prompt_template=template)
