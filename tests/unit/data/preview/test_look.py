"""Look: the first rows of every source in turn, and what is like another, by side."""

from __future__ import annotations

from rlhf.config.preview import PreviewConfig
from rlhf.data.kinds import prepare_kind
from rlhf.data.preview.look import preview_of


def looked(config, tokenizer, kind="demonstrations", **preview):
    prepared = prepare_kind(kind, config, tokenizer)
    return preview_of(kind, prepared, tokenizer, config, PreviewConfig(**preview))


def test_sources_are_shown_in_turn(chatml, write, configured):
    many = write("a.jsonl", [{"prompt": f"a{n}", "completion": " film"} for n in range(9)])
    few = write("b.jsonl", [{"prompt": "b0", "completion": " film"}])
    found = looked(configured(demonstrations=[many, few]), chatml, rows=4)
    assert [row.where for row in found.rows] == [f"{many}:1", f"{few}:1", f"{many}:2", f"{many}:3"]
    assert looked(configured(demonstrations=[many, few]), chatml, rows=0).rows == []


def test_copies_on_two_sides_leak(chatml, write, configured):
    words = "the film was good and the world was bad and I say so with many words today"
    rows = [{"prompt": f"Q{n}", "completion": f" {words}"} for n in range(20)]
    config = configured(demonstrations=write("a.jsonl", rows), validation_fraction=0.3)
    found = looked(config, chatml)
    held_out = found.sources[0].validation
    assert held_out
    assert found.near.rows == 19
    # The first row is trained on or not; those on the other side leak.
    assert found.near.leaking in (held_out, 20 - held_out)
    assert found.same.rows == 0


def test_rows_left_out_for_their_length_are_counted_and_the_first_named(chatml, write, configured):
    rows = [{"prompt": "film", "completion": " x" * n} for n in (1, 40, 50, 2)]
    path = write("a.jsonl", rows)
    found = looked(configured(demonstrations=path, max_length=20, overlong="drop"), chatml)
    assert found.num_overlong == 2
    assert [where for where, _ in found.overlong] == [f"{path}:2", f"{path}:3"]
    assert found.limit == ("data.max_length", 20)


def test_answers_are_labelled_by_their_rank(chatml, write, configured):
    pair = write("p.jsonl", [{"prompt": "film", "chosen": " good", "rejected": " bad"}])
    (row,) = looked(configured(preferences=pair), chatml, "preferences").rows
    assert [label for label, _ in row.parts] == ["", "chosen", "rejected"]
    three = write("q.jsonl", [{"prompt": "film", "answers": [" a", " b", " c"]}])
    (row,) = looked(configured(preferences=three), chatml, "preferences").rows
    assert [label for label, _ in row.parts] == ["", "rank 1", "rank 2", "rank 3"]


def test_windows_of_a_document_are_not_compared(chatml, tmp_path, configured):
    (tmp_path / "a.txt").write_text("the film was good\n" * 200)
    found = looked(
        configured(pretraining=str(tmp_path / "a.txt"), max_length=16), chatml, "pretraining"
    )
    assert found.compared == 0
    assert found.sources[0].train > 20


def test_a_folder_of_documents_is_one_source(chatml, tmp_path, configured):
    for name in ("a.txt", "b.md"):
        (tmp_path / name).write_text("the film was good\n" * 20)
    config = configured(pretraining=str(tmp_path), max_length=16)
    (source,) = looked(config, chatml, "pretraining").sources
    assert (source.path, source.layout) == (str(tmp_path), "documents")
