"""Rows of a function of the user's: read as the file that would hold them, faults in one line."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.fingerprint import sha256_files
from rlhf.data.rows import read_rows
from rlhf.errors import ConfigError, DataError

FILE = """
import itertools
counter = itertools.count()
def texts():
    for text in ("one", "zw\u00f6lf", "line\\nbreak"):
        yield {"text": text, "n": (1, None)}
def counted(): return [{"text": str(next(counter))}]
def stops():
    yield {"text": "one"}
    raise RuntimeError("the disk\\nis away")
def leaves():
    yield {"text": "one"}
    raise SystemExit(3)
def strange(): return [{"text": {1, 2}}]
def nothing(): return None
def needs(path): return []
def empty(): return []
def words(): return ["one"]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def read(path):
    return read_rows(SourceConfig(path=str(path)))


def test_the_rows_are_those_of_the_json_lines_file_that_would_hold_them(file, tmp_path):
    rows = [{"text": text, "n": [1, None]} for text in ("one", "zw\u00f6lf", "line\nbreak")]
    written = tmp_path / "rows.jsonl"
    written.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    spec = f"{file}:texts"
    assert [row.values for row in read(spec)] == [row.values for row in read(written)] == rows
    assert [row.where for row in read(spec)] == [f"{spec}:{number}" for number in (1, 2, 3)]
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert sha256_files([SourceConfig(path=spec)]) == {spec: digest}


def test_what_is_trained_on_is_what_was_hashed(file):
    """A function that gives other rows at every call is called once, until its file changes."""
    spec = f"{file}:counted"
    digest = sha256_files([SourceConfig(path=spec)])[spec]
    assert [row.values for row in read(spec)] == [{"text": "0"}]
    assert hashlib.sha256(b'{"text": "0"}\n').hexdigest() == digest
    file.write_text(FILE.replace("count()", "count(7)"), encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert [row.values for row in read(spec)] == [{"text": "7"}]


@pytest.mark.parametrize(
    ("name", "line", "fault"),
    [
        ("stops", 10, "row 2: .*mine.py:10: RuntimeError: the disk is away; it must"),
        ("leaves", 13, "row 2: .*mine.py:13: SystemExit: 3; it must"),
        ("strange", 0, "row 1: .*mine.py: TypeError: Object of type set is not JSON"),
        ("nothing", 0, "row 1: .*mine.py: TypeError: 'NoneType' object is not iterable"),
        ("needs", 0, r"row 1: .*mine.py: TypeError: needs\(\) missing 1 .*take no arguments"),
        ("empty", 0, "holds no rows"),
        ("words", 0, "mine.py:words:1: .*object"),
    ],
)
def test_a_fault_of_the_function_is_one_line_with_its_place(file, name, line, fault):
    with pytest.raises(DataError, match=fault) as caught:
        read(f"{file}:{name}")
    assert line == 0 or f"mine.py:{line}: " in str(caught.value)


def test_a_function_that_is_not_there_names_the_nearest(file):
    with pytest.raises(ConfigError, match="data source .*:text: the file defines no text; nearest"):
        read(f"{file}:text")
    with pytest.raises(ConfigError, match=r"data source .*no\.py:rows: there is no file /"):
        sha256_files([SourceConfig(path=f"{file.parent}/no.py:rows")])
    with pytest.raises(DataError, match="is not read; legal: .*FILE.py:NAME"):
        read(file)
