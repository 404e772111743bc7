"""Prepared: rows keep their place, and a test file's rows are the test side."""

from __future__ import annotations

from rlhf.data.demonstrations import prepare_demonstrations
from rlhf.data.prompts import load_prompts, prepare_prompts


def test_rows_that_are_too_long_are_named(chatml, write, configured):
    path = write("a.jsonl", [{"text": "film " * n} for n in (1, 90, 2)])
    config = configured(demonstrations=path, max_length=30, overlong="drop")
    prepared = prepare_demonstrations(config, chatml)
    assert [entry.example.row.where for entry in prepared.entries] == [f"{path}:1", f"{path}:3"]
    ((where, tokens),) = prepared.overlong
    assert where == f"{path}:2"
    assert tokens > 90


def test_a_test_file_is_the_test_side_and_its_dropped_rows_count(chatml, write, configured):
    own = write("a.jsonl", [{"prompt": f"film {n}"} for n in range(30)])
    test = write("t.jsonl", [{"prompt": "hello"}, {"prompt": "x " * 90}])
    config = configured(
        prompts=own, test_prompts=test, test_fraction=0.4, max_prompt_length=30, overlong="drop"
    )
    splits = load_prompts(config, chatml)
    assert splits.test.prompts == ("hello",)
    assert splits.dropped == 1
    assert len(splits.train) < 30  # what would have been the test side is not trained on
    prepared = prepare_prompts(config, chatml)
    assert [prepared.entries[i].example.row.where for i in prepared.sides["test"]] == [f"{test}:1"]


def test_documents_stand_behind_the_rows(chatml, tmp_path, write, configured):
    (tmp_path / "a.txt").write_text("the film was good\n" * 20)
    rows = write("a.jsonl", [{"text": "hello"}])
    config = configured(demonstrations=[str(tmp_path / "a.txt"), rows], max_length=16)
    prepared = prepare_demonstrations(config, chatml)
    assert [entry.example.row.document for entry in prepared.entries[:2]] == [False, True]
    assert sorted(prepared.sides["train"]) == list(range(len(prepared.entries)))
