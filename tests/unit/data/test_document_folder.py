"""A folder of documents is all its documents; what is not read of a folder is told."""

from __future__ import annotations

import gzip
import json

import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.document_folder import documents_in
from rlhf.data.rows import read_rows
from rlhf.errors import DataError
from tests.pdf import pdf


def test_every_document_of_a_folder_is_read_and_the_rest_told(tmp_path, caplog):
    pytest.importorskip("pypdf", reason="requirements.lock has it; make .venv")
    (tmp_path / "below").mkdir()
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "a.md").write_text("# one")
    (tmp_path / "below/c.PDF").write_bytes(pdf(["three"]))
    (tmp_path / "below/d.txt.gz").write_bytes(gzip.compress(b"four"))
    (tmp_path / "figure.png").write_bytes(b"\x89PNG")
    (tmp_path / "old.docx").write_bytes(b"PK")
    (tmp_path / ".hidden.txt").write_text("not read")
    rows = read_rows(SourceConfig(path=str(tmp_path)))
    assert [row.values["text"] for row in rows] == ["# one", "two", "three", "four"]
    assert all(row.document and row.folder == str(tmp_path) for row in rows)
    assert rows[2].where == f"{tmp_path}/below/c.PDF:1"
    assert "a folder of 4 documents" in caplog.text
    assert "not read: figure.png, old.docx" in caplog.text
    assert "hidden" not in caplog.text


def test_a_folder_with_tables_is_a_data_set_whose_documents_are_told(tmp_path, caplog):
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "one"}) + "\n")
    assert documents_in(tmp_path) == []
    assert not caplog.text
    (tmp_path / "manual.txt").write_text("two")
    assert documents_in(tmp_path) == []
    assert "as it holds a.jsonl; documents there are not read: manual.txt" in caplog.text
    assert [row.values for row in read_rows(SourceConfig(path=str(tmp_path)))] == [{"text": "one"}]


def test_all_faults_of_a_folder_are_told_at_once_by_their_files(tmp_path):
    for name, content in (
        ("a.txt", b""),
        ("b.txt", b"fine\n\xff"),
        ("c.txt", b" \n"),
        ("d.pdf", b"words"),
        ("e.txt", b"good"),
    ):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_rows(SourceConfig(path=str(tmp_path)))
    head, *lines = str(caught.value).splitlines()
    assert head == f"4 problems in {tmp_path}:"
    assert [line.removeprefix(f"{tmp_path}/").split(":")[0] for line in lines] == [
        *("a.txt", "b.txt", "c.txt", "d.pdf")
    ]
    assert lines[1].startswith(f"{tmp_path}/b.txt:2: not UTF-8")


def test_a_folder_without_documents_is_for_datasets(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert documents_in(tmp_path) == []
