"""Fingerprints: the sha256 of every source, for the manifest of what a run learned from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from rlhf.config.data import SourceConfig
from rlhf.data.functions import as_lines
from rlhf.data.rows import is_file, read_rows
from rlhf.errors import DataError
from rlhf.plugin import is_function


def sha256_files(sources: Iterable[SourceConfig]) -> dict[str, str]:
    """Return path -> sha256 hex: of a file, of a folder's files, or of the rows of anything else.

    Raises:
        DataError: when a source cannot be read.
    """
    return {source.path: _sha256(source) for source in sources}


def _sha256(source: SourceConfig) -> str:
    path = Path(source.path)
    digest = hashlib.sha256()
    if is_function(source.path):
        return hashlib.sha256(as_lines(source.path)).hexdigest()
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    elif is_file(source.path):
        raise DataError(f"{path}: no such file; paths are relative to the working folder")
    else:
        for row in read_rows(source):
            digest.update(json.dumps(row.values, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()
