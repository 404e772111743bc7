"""The code a run was made of is known to the commit, and to the byte where it is not committed."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from rlhf.observe.source import describe_source


@pytest.fixture
def checkout(tmp_path):
    """A repository with one committed module, a lock, and files that are not the program's."""
    folder = tmp_path / "checkout"
    (folder / "rlhf").mkdir(parents=True)
    (folder / "conf").mkdir()
    (folder / "rlhf" / "loss.py").write_text("coef = 1\n")
    (folder / "requirements.lock").write_text("torch==2\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def git(folder, *words):
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_a_clean_checkout_is_its_commit(checkout):
    (checkout / "notes.txt").write_text("no part of the program\n")
    found, patch = describe_source(checkout)
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert (found["is_dirty"], found["patch_sha256"], patch) == (False, None, b"")
    assert found["lock_sha256"] == hashlib.sha256(b"torch==2\n").hexdigest()
    assert len(str(found["installed_sha256"])) == 64


def test_the_patch_of_a_dirty_checkout_makes_its_files_again(checkout, tmp_path):
    (checkout / "rlhf" / "loss.py").write_text("coef = 2\n")
    (checkout / "rlhf" / "new one.py").write_text("x = 1\n")
    found, patch = describe_source(checkout)
    assert found["is_dirty"] is True
    assert found["patch_sha256"] == hashlib.sha256(patch).hexdigest()
    assert found["patch_bytes"] == len(patch)
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(checkout), str(other))
    (tmp_path / "dirty.patch").write_bytes(patch)
    git(other, "apply", str(tmp_path / "dirty.patch"))
    assert (other / "rlhf" / "loss.py").read_text() == "coef = 2\n"
    assert (other / "rlhf" / "new one.py").read_text() == "x = 1\n"


def test_a_package_without_a_checkout_is_reported(tmp_path):
    found, patch = describe_source(tmp_path)
    assert (found["commit"], found["lock_sha256"]) == ("installed, not a checkout", None)
    assert (patch, "is_dirty" in found) == (b"", False)


def test_a_repository_git_cannot_read_has_the_reason(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    found, _ = describe_source(tmp_path)
    assert str(found["commit"]).startswith("not known: fatal: not a git repository")
