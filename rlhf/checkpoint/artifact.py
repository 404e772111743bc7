"""What one stage passes to the next: a model folder with a record of its origin and its hashes.

`rlhf_artifact.json` is written last, in a folder beside the final one; `put_in_place` then moves
the whole. So a folder that stands in its place without a record, or with files that are not those
of the record, was damaged afterwards.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, ValidationError

from rlhf import __version__
from rlhf.catalog.stages import STAGES
from rlhf.checkpoint.files import (
    canonical_json,
    read_json,
    reading,
    sha256,
    sync,
    write_json,
    writing,
)
from rlhf.config.section import Section
from rlhf.errors import CheckpointError

ARTIFACT_FILE = "rlhf_artifact.json"
OWN_SHA256 = "record_sha256"
SCHEMA_VERSION = 3
"""1 had the hashes of the weights alone; 2 counted the base's path in ADAPTER_CONFIG."""
ADAPTER_SCHEMA = 3
ADAPTER_CONFIG, BASE_KEY = "adapter_config.json", "base_model_name_or_path"
"""File of adapters, and what it calls their base: a path that changes when the run is moved."""
DECIDING_FILES = (
    ("config.json", "*.safetensors", "*.bin"),
    ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt"),
)
"""Files of a model folder that decide what it is, in run folders of layout 1 and of those since,
which count tokenizer, chat template and generation config too."""

START = "start"
"""Folder of a policy's first weights, where a run made them."""
KINDS = (START, *(kind for stage in STAGES for kind in (stage.folder, *stage.by_products)))
"""Finished model folders: the first weights, and what the stages make."""


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"Input should be one of {', '.join(KINDS)}")
    return kind


class Artifact(Section):
    """What a finished model folder is, where it came from, and the hashes of its weights."""

    schema_version: int = SCHEMA_VERSION
    """Layout of this record."""
    kind: Annotated[str, AfterValidator(_known_kind)]
    """What the model is for: the name of the folder it was made as, such as policy."""
    head_trained: bool
    """False while a scalar head still has its initial weights; True for language models."""
    tokenizer_sha256: str
    """Hash of the tokenizer the model was trained with."""
    chat_template_sha256: str | None
    """Hash of its chat template; None without one."""
    base: str
    """Model or folder the training started from."""
    inputs_sha256: str
    """inputs_fingerprint of all that decided the result: settings, data, the folder before it."""
    weights_sha256: dict[str, str] = Field(default_factory=dict)
    """Hash of each safetensors file by name; filled in by write_artifact."""
    files_sha256: dict[str, str] = Field(default_factory=dict)
    """Hash of every other file, by its path within the folder; filled in by write_artifact."""
    beside: list[str] = Field(default_factory=list[str])
    """Folders that the same stage made and that lie beside this one, such as value."""
    measured: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What was measured of it when it was made, as JSON; a reward model's RUN/reward_model.json."""
    created_by: str = __version__
    """Release of rlhf that saved it."""
    record_sha256: str = ""
    """Hash of the record itself, without this entry; filled in by write_artifact."""


def write_artifact(folder: Path, artifact: Artifact) -> Artifact:
    """Hash the folder's files and write the record beside them, atomically.

    Raises:
        CheckpointError: when the folder has no weights, or the disk is full or fails.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} has no *.safetensors file; save the weights first")
    others = [path for path in sorted(folder.rglob("*")) if _is_own(path) and path not in files]
    hashes = {
        "weights_sha256": {path.name: sha256(path) for path in files},
        "files_sha256": {path.relative_to(folder).as_posix(): _sha256(path) for path in others},
    }
    whole = artifact.model_copy(update=hashes)
    whole = whole.model_copy(update={OWN_SHA256: _own_sha256(whole.model_dump())})
    write_json(folder / ARTIFACT_FILE, whole.model_dump())
    return whole


def _sha256(path: Path, schema_version: int = SCHEMA_VERSION) -> str:
    """Return the hash of a file as a record of that layout has it."""
    if path.name == ADAPTER_CONFIG and schema_version >= ADAPTER_SCHEMA:
        content = read_json(path)
        if isinstance(content, dict):
            entries = cast("dict[str, object]", content)
            return inputs_fingerprint({k: v for k, v in entries.items() if k != BASE_KEY})
    return sha256(path)


def _own_sha256(record: Mapping[str, object]) -> str:
    """Return the hash of a record as it stands in its file, without its own entry.

    A later release reads it too: it counts the entries that are there, not those it knows.
    """
    return inputs_fingerprint({k: v for k, v in record.items() if k != OWN_SHA256})


def _is_own(path: Path) -> bool:
    """Return whether a path is a file of the folder itself: no link, not the record."""
    return path.is_file() and not path.is_symlink() and path.name != ARTIFACT_FILE


def old_of(target: Path) -> Path:
    """Return where a folder waits while another one takes its place."""
    return target.with_name(f".{target.name}.old")


def put_in_place(finished: Path, target: Path) -> None:
    """Move a finished folder to its place, such that a power cut leaves the old one or the new.

    Raises:
        CheckpointError: when the disk fails.
    """
    old = old_of(target)
    with writing(target, 0):
        for path in (*finished.rglob("*"), finished):
            if not path.is_symlink():
                sync(path)
        if target.exists():
            target.rename(old)
        finished.rename(target)
        sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)


def read_artifact(folder: Path) -> Artifact | None:
    """Return a folder's record, None when it has none (unfinished, or made by other software).

    Raises:
        CheckpointError: when the record is damaged or of a newer schema.
    """
    path = folder / ARTIFACT_FILE
    if not path.is_file():
        return None
    with reading(path):
        content = path.read_bytes()
    try:
        artifact = Artifact.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}".lstrip(": ")
            for detail in error.errors(include_url=False)
        )
        raise CheckpointError(f"{path} is damaged or of a newer release: {problems}") from error
    if artifact.schema_version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has schema_version={artifact.schema_version}, this release reads up to "
            f"{SCHEMA_VERSION}; upgrade, or run the stage again"
        )
    if artifact.schema_version > 1 and artifact.record_sha256 != _own_sha256(json.loads(content)):
        raise CheckpointError(
            f"{path} is damaged: it does not match its own sha256; put it back, or delete {folder} "
            "and run its stage again"
        )
    return artifact


def verify(folder: Path) -> Artifact:
    """Return a folder's record after checking every file against it.

    Raises:
        CheckpointError: naming every file that is missing or differs, and the record if it does.
    """
    remedy = (
        f"put it back, or delete {folder} and run its stage again; changed on purpose, it is "
        f"another model: use a copy of the folder without {ARTIFACT_FILE}"
    )
    artifact = read_artifact(folder)
    if artifact is None:
        raise CheckpointError(f"{folder / ARTIFACT_FILE} is missing: {folder} is damaged; {remedy}")
    problems: list[str] = []
    for name, expected in {**artifact.weights_sha256, **artifact.files_sha256}.items():
        try:
            found = _sha256(folder / name, artifact.schema_version)
        except CheckpointError as error:
            problems.append(f"{error}: {folder} is damaged; {remedy}")
            continue
        if found != expected:
            problems.append(
                f"{folder / name} is damaged: sha256 {found[:12]}, {ARTIFACT_FILE} says "
                f"{expected[:12]}; {remedy}"
            )
    if problems:
        raise CheckpointError("\n".join(problems))
    return artifact


def is_current(folder: Path, inputs_sha256: str) -> bool:
    """Return whether the folder is there, whole, and made from exactly these inputs.

    A folder made from other inputs may be replaced; a damaged one is never taken for such.

    Raises:
        CheckpointError: naming what is damaged.
    """
    if not folder.exists():
        return False
    artifact = read_artifact(folder)
    if artifact is not None and artifact.inputs_sha256 != inputs_sha256:
        return False
    verify(folder)
    return True


def inputs_fingerprint(inputs: Mapping[str, object]) -> str:
    """Return the hex SHA-256 of a JSON mapping; the order of its keys does not matter."""
    return hashlib.sha256(canonical_json(inputs).encode()).hexdigest()


def identity(path: Path, layout: int) -> object:
    """Return the hashes of a file, or of all files a model is loaded from; else the name itself.

    Args:
        path: A file, a model folder, or the name of a model on the hub.
        layout: Layout of the run folder, which determines the files that count.
    """
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return str(path)
    files = {file for kind in DECIDING_FILES[min(layout, 2) - 1] for file in path.glob(kind)}
    return {file.name: sha256(file) for file in sorted(files - {path / ARTIFACT_FILE})}
