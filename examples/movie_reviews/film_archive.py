"""Human-rated film sentences, read out of a public package archive that is kept in a cache.

The sentences ship inside the source archive of the MIT-licensed package vaderSentiment 3.3.2. The
archive is pinned by its sha256, fetched once through pip with the user's own settings, read in
memory and never unpacked. Nothing in it is imported here; pip asks its setup.py for metadata.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from film_sentences import Row, build_rows, parse_snippets

from rlhf.errors import DataError

PACKAGE: Final = "vaderSentiment"
VERSION: Final = "3.3.2"
ARCHIVE_NAME: Final = f"{PACKAGE}-{VERSION}.tar.gz"
ARCHIVE_SHA256: Final = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER_MEMBER: Final = f"{PACKAGE}-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"
TEXTS_MEMBER: Final = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
RATINGS_MEMBER: Final = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
MAX_MEMBER_BYTES: Final = 16 * 2**20
DOWNLOAD_TIMEOUT_SECONDS: Final = 600


@cache
def all_rows() -> dict[str, list[Row]]:
    """Return the rows of every kind, once a process: building them takes a second."""
    return build_rows(parse_snippets(*read_members(fetch_archive())))


def archive_file() -> Path:
    """Return where the archive is kept: in ``$RLHF_CACHE``, else in ``~/.cache/rlhf``."""
    cache = Path(os.environ.get("RLHF_CACHE") or "~/.cache/rlhf").expanduser()
    return cache / f"{PACKAGE}-{VERSION}" / ARCHIVE_NAME


def fetch_archive() -> bytes:
    """Return the pinned archive, which pip downloads where it is not there yet.

    Raises:
        DataError: It cannot be fetched, or is not the pinned one.
    """
    path = archive_file()
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() == ARCHIVE_SHA256:
        return content
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _pip_download(Path(folder), keep_at=path).replace(path)
    return path.read_bytes()


def read_members(archive: bytes) -> tuple[str, str]:
    """Read the sentences and their ratings out of the nested archives, in memory only."""
    inner = _read_member(archive, INNER_MEMBER)
    texts, ratings = (_read_member(inner, name) for name in (TEXTS_MEMBER, RATINGS_MEMBER))
    return texts.decode("utf-8"), ratings.decode("utf-8")


def _pip_download(folder: Path, keep_at: Path) -> Path:
    """Download the archive, its hash checked; on failure name where to put a copy by hand."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{ARCHIVE_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE]
    command += ["--require-hashes", "--no-input", "--quiet", "--dest", str(folder)]
    if importlib.util.find_spec("setuptools"):  # spares building an environment: 0.6 s, not 3 s
        command.append("--no-build-isolation")
    failure = _run([*command, "--requirement", str(requirements)])
    archive = folder / ARCHIVE_NAME
    if failure or not archive.is_file():
        raise DataError(
            f"pip could not download {PACKAGE}=={VERSION} as a source archive: {failure[-600:]}\n"
            "The film-review data is read from it once and cached. Connect to a package index, "
            f"or copy {ARCHIVE_NAME} (sha256 {ARCHIVE_SHA256}) to {keep_at}"
        )
    return archive


def _run(command: list[str]) -> str:
    """Run a command and give what went wrong, or nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {DOWNLOAD_TIMEOUT_SECONDS} s"
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""


def _read_member(archive: bytes, name: str) -> bytes:
    """Read one plain file of a tar.gz; its name is matched, never used as a path."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = next((member for member in tar if member.name == name), None)
        stream = tar.extractfile(member) if member and member.isreg() else None
        if member is None or stream is None or member.size > MAX_MEMBER_BYTES:
            raise DataError(
                f"{name} is not in the archive as a plain file of at most {MAX_MEMBER_BYTES} bytes"
            )
        return stream.read()
