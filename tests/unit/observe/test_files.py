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


def test_metrics_of_earlier_releases_are_read_under_todays_names(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"stage": "ppo", "step": 0, "metrics": {"val/ratio": 1, "values/mean": 2, "lr": 3}}\n'
        '{"stage": "sft", "step": 0, "metrics": {"loss/train": 4.0}}\n'
        '{"stage": "ppo", "step": 1, "metrics": null}\n'
    )
    figures = files.read_figures(tmp_path, "ppo")
    assert figures == [{"policy/ratio": 1, "value/mean": 2, "lr": 3}]
    assert [row["step"] for row in files.read_steps(tmp_path)] == [0, 0, 1]
    assert not set(files.RENAMED) & set(files.RENAMED.values())
