"""Human-rated film sentences, fetched from a public package archive and kept as JSONL files.

The sentences ship inside the source archive of the MIT-licensed package vaderSentiment 3.3.2. The
archive is pinned by its sha256, fetched once through pip with the user's own settings, read in
memory and never unpacked. Nothing in it is imported here; pip asks its setup.py for metadata.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rlhf.data.movie_reviews import FILES, RECIPE, Row, build_rows, parse_snippets
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


def fetch_movie_reviews(cache: Path | None = None) -> dict[str, Path]:
    """Give the film-review files, fetching and building them the first time.

    Args:
        cache: Folder to keep them in; ``$RLHF_CACHE`` or ``~/.cache/rlhf`` by default.

    Returns:
        File by name: ``demonstrations`` (prompt, completion), ``preferences`` and
        ``preferences_test`` (prompt, chosen, rejected, margin), ``prompts`` and ``prompts_test``
        (prompt, topic) and ``judge`` (text, rating). No judge sentence is in any other file and
        no sentence is in both preference files.

    Raises:
        DataError: The archive cannot be fetched, or is not the pinned one.
    """
    root = (cache or default_cache()) / f"{PACKAGE}-{VERSION}"
    folder = root / RECIPE
    files = {name: folder / f"{name}.jsonl" for name in FILES}
    manifest = folder / "manifest.json"
    if _is_intact(manifest, files.values()):
        return files
    snippets = parse_snippets(*read_members(fetch_archive(root / ARCHIVE_NAME)))
    contents = {files[name]: _jsonl(rows) for name, rows in build_rows(snippets).items()}
    for path, content in contents.items():
        _write_atomically(path, content)
    digests = {path.name: _sha256(content) for path, content in contents.items()}
    _write_atomically(manifest, json.dumps(digests, indent=2).encode())
    return files


def default_cache() -> Path:
    """Give the user's cache folder: ``$RLHF_CACHE``, else ``~/.cache/rlhf``."""
    configured = os.environ.get("RLHF_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "rlhf"


def fetch_archive(path: Path) -> bytes:
    """Read the pinned archive at ``path``, where pip downloads it if it is not there yet."""
    content = path.read_bytes() if path.is_file() else b""
    if _sha256(content) == ARCHIVE_SHA256:
        return content
    with tempfile.TemporaryDirectory() as folder:
        content = _pip_download(Path(folder), keep_at=path)
    if _sha256(content) != ARCHIVE_SHA256:
        raise DataError(
            f"{ARCHIVE_NAME} has sha256 {_sha256(content)}, not the pinned {ARCHIVE_SHA256}; "
            "it was changed on the way: check the package index that pip is set up to use"
        )
    _write_atomically(path, content)
    return content


def read_members(archive: bytes) -> tuple[str, str]:
    """Read the sentences and their ratings out of the nested archives, in memory only."""
    inner = _read_member(archive, INNER_MEMBER)
    texts, ratings = (_read_member(inner, name) for name in (TEXTS_MEMBER, RATINGS_MEMBER))
    return texts.decode("utf-8"), ratings.decode("utf-8")


def _pip_download(folder: Path, keep_at: Path) -> bytes:
    """Download the archive into ``folder``; on failure name where to put a copy by hand."""
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
    return archive.read_bytes()


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


def _is_intact(manifest: Path, files: Iterable[Path]) -> bool:
    """Return whether every file is there with the sha256 in the manifest."""
    try:
        digests = json.loads(manifest.read_bytes())
        return all(digests[path.name] == _sha256(path.read_bytes()) for path in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_atomically(path: Path, content: bytes) -> None:
    """Write by way of a temporary file beside ``path``, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(content)
    Path(stream.name).replace(path)
