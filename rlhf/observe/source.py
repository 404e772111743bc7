"""Source: which code ran, as a commit and the changes on top of it."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import rlhf

PATCH = "dirty.patch"
LARGEST_PATCH = 1_000_000
"""Bytes; of a larger one only the hash is kept."""
OURS = ("rlhf", "conf", "examples")
"""What of a checkout a run is made of."""


def checkout() -> Path:
    """Return the folder that holds the package: the top of a checkout, if it is one."""
    return Path(rlhf.__file__).resolve().parents[1]


def describe_source(folder: Path) -> tuple[dict[str, object], bytes]:
    """Return what the code in a folder is, and the patch from its commit to what ran.

    Args:
        folder: The top of a checkout, or wherever else the package stands.

    Returns:
        Flat, as JSON can keep it: `commit` (or, without one, the reason), `is_dirty`,
        `patch_sha256` and `patch_bytes` (None and 0 when clean), `lock_sha256` of
        requirements.lock (None when it is not there), `installed_sha256` of every installed
        distribution's name and version. The patch holds new files too, and is empty when clean.
    """
    lock = folder / "requirements.lock"
    found: dict[str, object] = {
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "installed_sha256": _installed(),
    }
    if not (folder / ".git").exists():
        return {"commit": "installed, not a checkout", **found}, b""
    try:
        commit = _git(folder, "rev-parse", "HEAD").decode().strip()
        patch = _patch(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        return {"commit": f"not known: {_reason(error)}", **found}, b""
    changed: dict[str, object] = {
        "is_dirty": bool(patch),
        "patch_sha256": hashlib.sha256(patch).hexdigest() if patch else None,
        "patch_bytes": len(patch),
    }
    return {"commit": commit, **changed, **found}, patch


def _patch(folder: Path) -> bytes:
    """Return a patch that `git apply` takes: changed files, then new ones."""
    changed = _git(folder, "diff", "--binary", "HEAD", "--", *OURS)
    listed = _git(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", *OURS)
    new = [name for name in listed.decode().split("\0") if name]
    # `git diff --no-index` ends with 1 when files differ, and these always do.
    against_nothing = ("diff", "--binary", "--no-index", "--", "/dev/null")
    return changed + b"".join(_git(folder, *against_nothing, name, ends=(0, 1)) for name in new)


def _git(folder: Path, *words: str, ends: tuple[int, ...] = (0,)) -> bytes:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False)
    if done.returncode not in ends:
        raise subprocess.CalledProcessError(
            done.returncode, "git", output=done.stdout, stderr=done.stderr
        )
    return done.stdout


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, OSError):
        return f"git: {error.strerror}"
    output = bytes(error.stderr).decode(errors="replace").strip().splitlines()
    return output[0] if output else f"git ended with {error.returncode}"


@cache
def _installed() -> str:
    names = {(found.metadata["Name"], found.version) for found in distributions()}
    text = "\n".join(sorted(f"{name.lower()}=={version}" for name, version in names))
    return hashlib.sha256(text.encode()).hexdigest()
