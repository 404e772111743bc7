from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.fingerprint import sha256_files
from rlhf.errors import DataError


def test_a_file_has_its_sha256_and_a_folder_follows_its_files(tmp_path, write):
    path = write("a.jsonl", [{"text": "one"}])
    found = sha256_files([SourceConfig(path=path), SourceConfig(path=str(tmp_path))])
    assert found[path] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    folder = str(tmp_path)
    write("a.jsonl", [{"text": "two"}])
    changed = sha256_files([SourceConfig(path=folder)])[folder]
    write("b.jsonl", [{"text": "two"}])
    added = sha256_files([SourceConfig(path=folder)])[folder]
    assert len({found[folder], changed, added}) == 3


def test_a_split_of_a_folder_is_identified_by_its_rows(tmp_path, write):
    write("train.jsonl", [{"text": "one"}])
    source = SourceConfig(path=f"{tmp_path}:train")
    assert len(sha256_files([source])[source.path]) == 64


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.jsonl"):
        sha256_files([SourceConfig(path=str(tmp_path / "no.jsonl"))])
