"""Who may read what is written: the umask of a block, and what it was before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rlhf.checkpoint.mode import UMASKS, readable_by, umask


@pytest.mark.parametrize(
    ("mode", "expected"), [("private", 0), ("group", 0o40), ("everyone", 0o44)]
)
def test_a_new_file_and_one_of_a_new_process_have_the_mode(tmp_path, mode, expected):
    with readable_by(mode):
        (tmp_path / "ours").touch()
        write = f"open({str(tmp_path / 'theirs')!r}, 'w')"
        subprocess.run([sys.executable, "-c", write], check=True)
    for name in ("ours", "theirs"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600 | expected


def test_a_block_leaves_the_umask_as_it_was_also_after_an_error():
    before = umask()
    with pytest.raises(KeyError), readable_by("private"):
        assert umask() == UMASKS["private"]
        raise KeyError
    assert umask() == before


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    old = tmp_path / "old"
    old.touch()
    os.chmod(old, 0o664)  # noqa: PTH101
    with readable_by("private"):
        old.write_text("new")
    assert old.stat().st_mode & 0o777 == 0o664
