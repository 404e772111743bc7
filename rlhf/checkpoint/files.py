"""Files that are either whole or absent: JSON and tensors, written aside and moved into place.

A file is written as `.NAME.tmp` beside its target, flushed to the disk, renamed, and its folder
flushed; a kill at any moment leaves the old file or the new one. One process writes a path at a
time. Nothing here reads or writes pickles.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf.checkpoint.disk import explained
from rlhf.errors import CheckpointError

_METADATA_KEY = "rlhf"


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes.

    Raises:
        CheckpointError: when the file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> str:
    """Return JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically.

    Raises:
        CheckpointError: when the disk is full or fails.
        TypeError: when the value is not JSON.
    """
    content = json.dumps(value, indent=2).encode() + b"\n"
    _replace(path, len(content), lambda temporary: temporary.write_bytes(content))


def read_json(path: Path) -> object:
    """Return a JSON file's content.

    Raises:
        CheckpointError: when the file is missing, unreadable or not JSON.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        return cast("object", json.loads(content))
    except ValueError as error:
        raise CheckpointError(f"{path} ({len(content)} bytes) is not JSON: {error}") from error


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors atomically as safetensors; equal content gives equal bytes.

    Args:
        path: The file; its folder is made when missing.
        tensors: Any shapes, dtypes and devices; the values are copied, never the ties between them.
        metadata: Facts on the whole file (run id, step, role); kept in its header.

    Raises:
        CheckpointError: when the disk is full or fails.
    """
    owned = _owned(tensors)
    header = {_METADATA_KEY: canonical_json(dict(metadata or {}))}
    size = sum(tensor.numel() * tensor.element_size() for tensor in owned.values())
    _replace(path, size, lambda temporary: save_file(owned, temporary, metadata=header))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file, on the CPU.

    Raises:
        CheckpointError: when the file is missing, unreadable or damaged.
    """
    with reading(path):
        return load_file(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata given to write_tensors; empty for a file it did not write.

    Raises:
        CheckpointError: when the file is missing, unreadable or damaged.
    """
    with reading(path), safe_open(path, "pt") as file:
        header = cast("Mapping[str, str]", file.metadata() or {})
    return cast("dict[str, str]", json.loads(header.get(_METADATA_KEY, "{}")))


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise one CheckpointError that names the path, for every failure to read it."""
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


@contextmanager
def writing(path: Path, num_bytes: int) -> Iterator[None]:
    """Raise one CheckpointError with cause and remedy, for every failure to write the path.

    Args:
        path: The file being written.
        num_bytes: Bytes it needs, for the message when the disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(_explain(error, path, num_bytes)) from error


def _replace(path: Path, num_bytes: int, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path, num_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def _explain(error: OSError | SafetensorError, path: Path, num_bytes: int) -> str:
    fault = OSError(_error_number(error), str(error))
    return f"{explained(fault, path, num_bytes)}; the last complete checkpoint is untouched"


def _error_number(error: OSError | SafetensorError) -> int:
    """Return the system's error number, 0 when unknown; safetensors has it in its text only."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else 0


def _owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous CPU tensors that share no storage, as safetensors demands."""
    seen: set[int] = set()
    owned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ready = tensor.detach().cpu().contiguous()
        if ready.untyped_storage().data_ptr() in seen:
            ready = ready.clone()
        seen.add(ready.untyped_storage().data_ptr())
        owned[name] = ready
    return owned
