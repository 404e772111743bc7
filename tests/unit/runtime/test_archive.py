"""Archive: which files of a folder travel with a job, and which never do."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from rlhf.errors import ConfigError
from rlhf.runtime.archive import LARGEST_BYTES, pack

STAYS = (".git/config", ".venv/bin/python", "runs/first/policy/model.safetensors")


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def shipped(folder: Path, home: Path) -> set[str]:
    with zipfile.ZipFile(pack(folder, home / "parcel.zip").path) as archive:
        return set(archive.namelist())


@pytest.fixture
def folder(tmp_path) -> Path:
    return fill(
        tmp_path / "work",
        *STAYS,
        *("outputs/x", "multirun/x", "rlhf/cli/__pycache__/main.pyc"),
        *("rlhf/main.py", "prompts.jsonl", "data/runs/kept.jsonl"),
    )


def test_environments_results_and_caches_stay(folder, tmp_path):
    assert shipped(folder, tmp_path) == {"rlhf/main.py", "prompts.jsonl", "data/runs/kept.jsonl"}


def test_in_a_checkout_git_determines_what_travels(folder, tmp_path):
    subprocess.run(["git", "init", "-q", folder.parent], check=True)
    (folder / ".gitignore").write_text("data/\n")
    subprocess.run(["git", "add", "rlhf/main.py"], cwd=folder, check=True)
    fill(folder, "new.py", "rlhf/gone.py")
    subprocess.run(["git", "add", "rlhf/gone.py"], cwd=folder, check=True)
    (folder / "rlhf/gone.py").unlink()
    # A folder of a checkout, below its top: names are the folder's own.
    (folder / ".git/config").unlink()
    (folder / ".git").rmdir()
    assert shipped(folder, tmp_path) == {"rlhf/main.py", "prompts.jsonl", "new.py", ".gitignore"}


def test_the_size_is_shown(tmp_path):
    work = fill(tmp_path / "work", "a", "b")
    (work / "c").write_bytes(bytes(3 * 2**20))
    archive = pack(work, tmp_path / "parcel.zip")
    assert (archive.num_files, archive.num_bytes) == (3, 3 * 2**20 + 2)
    assert str(archive) == "3 files, 3.0 MiB"


def test_too_much_is_refused_before_it_is_read_and_the_largest_are_named(tmp_path):
    work = fill(tmp_path / "work", "small.py")
    with (work / "model.safetensors").open("wb") as large:
        large.truncate(LARGEST_BYTES)
    with pytest.raises(ConfigError, match=r"at most 100\.0 MiB may.*model\.safetensors \(100\.0"):
        pack(work, tmp_path / "parcel.zip")
    assert not (tmp_path / "parcel.zip").exists()
