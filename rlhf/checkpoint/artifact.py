"""What one stage passes to the next: a model folder with a record of its origin and its hashes.

`rlhf_artifact.json` is written last, so a model folder without it was never finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from rlhf import __version__
from rlhf.catalog.stages import STAGES
from rlhf.checkpoint.files import canonical_json, reading, sha256, write_json
from rlhf.config.section import Section
from rlhf.errors import CheckpointError

ARTIFACT_FILE = "rlhf_artifact.json"
SCHEMA_VERSION = 1
DECIDING_FILES = (
    ("config.json", "*.safetensors", "*.bin"),
    ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt"),
)
"""Files of a model folder that decide what it is, in run folders of layout 1 and of layout 2, which
counts tokenizer, chat template and generation config too."""


KINDS = (*(stage.folder for stage in STAGES), "value")
"""Finished model folders: the stages' results, and PPO's value model."""


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
    created_by: str = __version__
    """Release of rlhf that saved it."""


def write_artifact(folder: Path, artifact: Artifact) -> Artifact:
    """Hash the folder's safetensors files and write the record beside them, atomically.

    Raises:
        CheckpointError: when the folder has no weights, or the disk is full or fails.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} has no *.safetensors file; save the weights first")
    whole = artifact.model_copy(
        update={"weights_sha256": {path.name: sha256(path) for path in files}}
    )
    write_json(folder / ARTIFACT_FILE, whole.model_dump())
    return whole


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
    return artifact


def verify(folder: Path) -> Artifact:
    """Return a folder's record after checking every weight file against it.

    Raises:
        CheckpointError: naming the file that is missing or differs.
    """
    artifact = read_artifact(folder)
    if artifact is None:
        raise CheckpointError(
            f"{folder} has no {ARTIFACT_FILE}: its stage did not finish; run it again"
        )
    for name, expected in artifact.weights_sha256.items():
        found = sha256(folder / name)
        if found != expected:
            raise CheckpointError(
                f"{folder / name} is damaged: sha256 {found[:12]}, {ARTIFACT_FILE} says "
                f"{expected[:12]}; delete {folder} and run its stage again"
            )
    return artifact


def is_current(folder: Path, inputs_sha256: str) -> bool:
    """Return whether the folder is finished, complete, and made from exactly these inputs."""
    artifact = read_artifact(folder)
    if artifact is None or artifact.inputs_sha256 != inputs_sha256:
        return False
    return all((folder / name).is_file() for name in artifact.weights_sha256)


def inputs_fingerprint(inputs: Mapping[str, object]) -> str:
    """Return the hex SHA-256 of a JSON mapping; the order of its keys does not matter."""
    return hashlib.sha256(canonical_json(inputs).encode()).hexdigest()


def identity(path: Path, layout: int) -> object:
    """Return the hashes of a file, or of all files a model is loaded from; else the name itself.

    Args:
        path: A file, a model folder, or the name of a model on the hub.
        layout: Layout of the run folder, which determines the files that count: 1 or 2.
    """
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return str(path)
    files = {file for kind in DECIDING_FILES[layout - 1] for file in path.glob(kind)}
    return {file.name: sha256(file) for file in sorted(files - {path / ARTIFACT_FILE})}
