"""Lines survive cut writes; a rewrite is all or nothing."""

from __future__ import annotations

from rlhf.observe import files


def test_a_line_cut_off_spoils_neither_itself_nor_the_next(tmp_path):
    path = tmp_path / "rows.jsonl"
    files.append_rows(path, [{"step": 0}])
    with path.open("a") as file:
        file.write('{"step": 1, "met')
    files.append_rows(path, [{"step": 2}])
    assert files.read_rows(path) == [{"step": 0}, {"step": 2}]


def test_keep_rows_drops_and_leaves_no_draft(tmp_path):
    path = tmp_path / "rows.jsonl"
    files.append_rows(path, [{"step": step} for step in range(4)])
    files.keep_rows(path, lambda row: row["step"] != 2)
    assert [row["step"] for row in files.read_rows(path)] == [0, 1, 3]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_missing_or_damaged_objects_are_empty(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    assert files.read_object(tmp_path / "list.json") == files.read_object(tmp_path / "none") == {}
