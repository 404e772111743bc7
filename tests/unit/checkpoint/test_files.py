"""Files are whole or absent, and every failure is one line that names the file."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.files import (
    read_json,
    read_metadata,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
    writing,
)
from rlhf.errors import CheckpointError

torch.set_num_threads(1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=65536", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_sha256_of_known_content(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == known


def test_json_comes_back_and_leaves_no_other_file(tmp_path: Path) -> None:
    value = {"kl_coef": 0.1 + 0.2, "best": float("-inf"), "words": ["é", None, True]}
    write_json(tmp_path / "deep" / "state.json", value)
    assert read_json(tmp_path / "deep" / "state.json") == value
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state.json"]


def test_a_file_is_replaced_never_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, "old")
    with path.open() as reader:
        write_json(path, "new")
        assert reader.read() == '"old"\n'
    assert read_json(path) == "new"


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"tensor": torch.ones(1)})
    assert read_json(path) == 1


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\xff"])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.json .* is not JSON"):
        read_json(tmp_path / "state.json")


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_json, read_tensors, read_metadata, sha256):
        with pytest.raises(CheckpointError, match="gone is missing"):
            read(tmp_path / "gone")


def test_tensors_come_back_exactly(tmp_path: Path) -> None:
    tied = torch.randn(4, 3)
    flat = torch.arange(10.0)
    tensors = {
        "embedding": tied,
        "head": tied,
        "transposed": tied.t(),
        "left": flat[:5],
        "right": flat[5:],
        "bf16": torch.randn(7).bfloat16(),
        "step": torch.tensor(12),
        "none": torch.zeros(0, 3),
        "empty": torch.zeros(0),
    }
    write_tensors(tmp_path / "policy" / "model.safetensors", tensors, {"role": "policy"})
    back = read_tensors(tmp_path / "policy" / "model.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    metadata = {name: name for name in "abcdefgh"}
    hashes: set[str] = set()
    for attempt in range(8):
        path = tmp_path / f"{attempt}.safetensors"
        write_tensors(path, {"b": torch.ones(3), "a": torch.zeros(2)}, metadata)
        hashes.add(sha256(path))
        assert read_metadata(path) == metadata
    assert len(hashes) == 1


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_cut_tensor_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_tensors(path)


def test_full_disk_says_need_and_have_and_keeps_the_old_file(small_disk: Path) -> None:
    path = small_disk / "model.safetensors"
    write_tensors(path, {"a": torch.ones(8)})
    with pytest.raises(CheckpointError) as caught:
        write_tensors(path, {"a": torch.ones(100_000)})
    assert f"disk full: {path} needs 400,000 bytes" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="disk full"):
        write_json(small_disk / "state.json", "x" * 100_000)
    assert torch.equal(read_tensors(path)["a"], torch.ones(8))
    assert [entry.name for entry in small_disk.iterdir()] == ["model.safetensors"]


def test_full_disk_message_without_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.safetensors"
    with (
        pytest.raises(
            CheckpointError, match=r"disk full: .*model.* needs 7 bytes, [\d,]+ are free"
        ),
        writing(path, 7),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_failing_disk_is_not_called_full(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"cannot write .*: Input/output error"),
        writing(tmp_path / "a", 7),
    ):
        raise OSError(errno.EIO, "bad")


def test_writing_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        write_json(tmp_path / "file" / "state.json", 1)
