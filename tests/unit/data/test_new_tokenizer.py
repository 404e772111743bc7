"""New tokenizer: learned from every text of the rows; malformed rows do not end it."""

from __future__ import annotations

from pathlib import Path

from rlhf.config.data import SourceConfig
from rlhf.data.new_tokenizer import new_tokenizer, strings_of


def test_the_texts_of_messages_and_cells_are_learned_from(write):
    chat = [{"role": "user", "content": "zyzzyva zyzzyva zyzzyva"}]
    paths = [write("a.jsonl", [{"messages": chat}]), write("b.jsonl", [{"text": "quokka " * 4}])]
    tokens = new_tokenizer([SourceConfig(path=path) for path in paths], 400).get_vocab()
    assert "zyzzyva" in tokens
    assert "quokka" in tokens


def test_malformed_rows_are_for_others_to_tell(write):
    path = write("a.jsonl", [{"text": "quokka " * 4}])
    with Path(path).open("a") as file:
        file.write("{oops\n")
    assert "quokka" in new_tokenizer([SourceConfig(path=path)], 400).get_vocab()


def test_strings_of_any_cell():
    assert strings_of([{"role": "user", "content": [{"type": "text", "text": "a"}]}, "b", 3]) == [
        "text",
        "a",
        "b",
    ]
