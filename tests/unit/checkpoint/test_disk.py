"""What the machine refuses is told with the file, the cause and the remedy."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from rlhf.checkpoint.disk import existing, explained, is_fault_of_the_machine


def test_a_full_disk_is_told_with_needed_and_free_bytes(tmp_path: Path) -> None:
    line = explained(OSError(errno.ENOSPC, "full"), tmp_path / "a/b.json", 5_000)
    free = shutil.disk_usage(tmp_path).free
    assert f"{tmp_path / 'a/b.json'} needs 5,000 bytes" in line
    assert abs(int(line.partition("bytes, ")[2].split()[0].replace(",", "")) - free) < 2**30


def test_the_error_names_the_file_where_nobody_else_does() -> None:
    line = explained(OSError(errno.EROFS, "read only", "/somewhere/file"))
    assert line == "cannot write or read /somewhere/file: Read-only file system"
    assert explained(OSError(errno.EIO, "x")) == "cannot write or read a file: Input/output error"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.EEXIST, None])
def test_what_a_program_did_wrong_is_no_fault_of_the_machine(number: int | None) -> None:
    assert not is_fault_of_the_machine(OSError(number, "x"))


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert existing(tmp_path / "a/b/c") == tmp_path
