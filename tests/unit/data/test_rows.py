from __future__ import annotations

import gzip
import json
import tracemalloc

import datasets
import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.rows import Row, read_rows
from rlhf.errors import DataError


def read(path):
    return read_rows(SourceConfig(path=str(path)))


def test_lines_are_counted_through_bom_crlf_and_blank_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n  \n{"text": "two\xe2\x80\xa8three"}')
    rows = read(path)
    assert [row.values["text"] for row in rows] == ["one", "two\u2028three"]
    assert [row.where for row in rows] == [f"{path}:1", f"{path}:4"]


def test_every_malformed_line_is_listed(tmp_path):
    path = tmp_path / "a.jsonl"
    bad = [b"{", b'["x"]', b'{"a": "\xff"}', b'"x"', b'{"a": "\\ud800"}', b'{"a": "\x00"}']
    path.write_bytes(b"\n".join([b'{"a": 1}', *bad, b"[" * 100_000]))
    with pytest.raises(DataError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("7 problems")
    assert [line.split(": ")[0] for line in lines[1:]] == [f"{path}:{n}" for n in range(2, 9)]
    assert "array where an object" in lines[2]
    assert "not UTF-8 at byte 7" in lines[3]
    assert "surrogate" in lines[5]


def test_only_twenty_problems_are_shown(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("x\n" * 45)
    with pytest.raises(DataError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("45 problems")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("suffix", [".jsonl"])
def test_a_file_without_rows_is_an_error(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"empty|no rows"):
        read(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "nothing/here"])
def test_a_missing_source_is_named(tmp_path, name):
    with pytest.raises(DataError, match=name.split("/")[0]):
        read(tmp_path / name)


def test_json_array(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"prompt": "x"}, {"prompt": "y"}]))
    assert [row.where for row in read(path)] == [f"{path}:0", f"{path}:1"]
    path.write_text('[{"prompt": "x"}, 3]')
    with pytest.raises(DataError, match=r"a.json:1: an int"):
        read(path)
    path.write_text('{"prompt": "x"}\n{"prompt": "y"}\n')
    assert [row.where for row in read(path)] == [f"{path}:1", f"{path}:2"]
    path.write_text('{"data":\n [{"prompt": "x"}]}')
    with pytest.raises(DataError, match="array of objects"):
        read(path)
    path.write_text('[\n{"prompt" "x"}]')
    with pytest.raises(DataError, match="line 2, column 11"):
        read(path)


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    messages = [[{"role": "user", "content": "hi"}], [{"role": "user", "content": "you"}]]
    datasets.Dataset.from_dict({"prompt": messages, "k": [1, 2]}).to_parquet(str(path))
    rows = read(path)
    assert rows[1].values == {"prompt": messages[1], "k": 2}
    assert rows[1].where == f"{path}:1"
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a readable parquet"):
        read(path)


def test_data_set_folders_and_splits(tmp_path, write):
    write("train.jsonl", [{"text": "one"}])
    write("test.jsonl", [{"text": "two"}])
    assert [row.values for row in read(tmp_path)] == [{"text": "one"}]
    assert read(f"{tmp_path}:test")[0].where == f"{tmp_path}:test:0"
    with pytest.raises(DataError, match="nosuch"):
        read(f"{tmp_path}:nosuch")


def test_saved_data_sets(tmp_path):
    table = datasets.Dataset.from_dict({"text": ["one"]})
    table.save_to_disk(str(tmp_path / "single"))
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "several"))
    assert read(tmp_path / "single")[0].values == {"text": "one"}
    assert read(tmp_path / "several")[0].values == {"text": "one"}
    with pytest.raises(DataError, match="no split test; those there are: train"):
        read(f"{tmp_path / 'several'}:test")


GOOD = b'{"text": "one"}\n{"text": "two"}\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ndjson", GOOD),
        ("a.JSONL", GOOD),
        ("a.jsonl.gz", gzip.compress(GOOD, mtime=0)),
        ("a.csv.gz", gzip.compress(b"text\none\ntwo\n", mtime=0)),
        ("a.csv", b"\xef\xbb\xbftext\r\none\r\ntwo"),
        ("a.tsv", b"text\tn\none\t\ntwo\t\n"),
    ],
)
def test_every_kind_of_file_gives_its_rows(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    rows = read(path)
    assert [row.values["text"] for row in rows] == ["one", "two"]
    first = 2 if ".csv" in name or ".tsv" in name else 1
    assert [row.where for row in rows] == [f"{path}:{first}", f"{path}:{first + 1}"]
    assert not any(row.document for row in rows)


def test_a_packed_file_is_not_unpacked_beyond_what_texts_pack_to(tmp_path):
    path = tmp_path / "a.txt.gz"
    packed = gzip.compress(bytes(2**20), mtime=0)
    path.write_bytes(packed * 300)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.txt\.gz: holds more than 200 times its .* unpack it"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**27
    path.write_bytes(packed * 20)
    assert len(read(path)[0].values["text"]) == 20 * 2**20


def test_a_text_file_is_one_document(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo\n")
    assert read(path) == [Row({"text": "one\n\ntwo\n"}, f"{path}:1", document=True)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xlsx", b"PK", "a kind that is not read; legal: .jsonl"),
        ("rows", b"x", "a kind that is not read"),
        ("a.jsonl:train", b"", "is a file, which has no config or split"),
        ("./nothing", None, "no such file or folder"),
        ("a.jsonl.gz", gzip.compress(GOOD, mtime=0)[:-9], "not readable"),
        ("a.jsonl.gz", GOOD, "not readable"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16.; save it as UTF-8"),
        ("a.csv", b"PK\x03\x04\x14", r"a.csv: is a spreadsheet .* PK; save it as CSV UTF-8"),
        ("a.jsonl", b"PK\x03\x04\x14", r"another zip file, .* \.jsonl: .*; unpack it"),
        ("a.txt", "caf\xe9".encode("latin-1"), r"a.txt:1: not UTF-8 at byte 3 .*0xe9"),
        ("a.jsonl", b'{"a": 1, "b": {"c": 1, "c": 2}}', "a.jsonl:1: c stands twice"),
        ("a.jsonl", b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "nested more than 100 deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_never_a_name_of_the_hub(
    tmp_path, monkeypatch, name, content, reason
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name.partition(":")[0]).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read(name)
    assert "hub" not in str(caught.value).lower()
