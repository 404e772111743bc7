"""A stage's result records what it is, proves it is whole, and is not made twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.artifact import (
    ARTIFACT_FILE,
    Artifact,
    identity,
    inputs_fingerprint,
    is_current,
    put_in_place,
    read_artifact,
    verify,
    write_artifact,
)
from rlhf.checkpoint.files import write_tensors
from rlhf.errors import CheckpointError

INPUTS = inputs_fingerprint({"seed": 0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model-00001-of-00002", "model-00002-of-00002"):
        write_tensors(tmp_path / f"{name}.safetensors", {"w": torch.ones(9)})
    return tmp_path


def artifact() -> Artifact:
    return Artifact(
        kind="sft",
        head_trained=True,
        tokenizer_sha256="t",
        chat_template_sha256=None,
        base="gpt2",
        inputs_sha256=INPUTS,
    )


def test_what_is_written_comes_back(folder: Path) -> None:
    written = write_artifact(folder, artifact())
    assert read_artifact(folder) == written == verify(folder)
    assert sorted(written.weights_sha256) == sorted(p.name for p in folder.glob("*.safetensors"))
    assert written.created_by


def test_a_folder_without_record_is_damaged_and_none_is_not_there(folder: Path) -> None:
    assert read_artifact(folder) is None
    assert not is_current(folder / "none", INPUTS)
    with pytest.raises(CheckpointError, match="rlhf_artifact.json is missing"):
        is_current(folder, INPUTS)


def test_every_damaged_file_is_named_at_once(folder: Path) -> None:
    (folder / "adapter").mkdir()
    for name in ("config.json", "adapter/adapter_config.json"):
        (folder / name).write_text("{}")
    write_artifact(folder, artifact())
    (folder / "notes.md").write_text("of the user's own")
    verify(folder)
    (folder / "config.json").write_text("{ }")
    (folder / "adapter/adapter_config.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        verify(folder)
    first, second = sorted(str(caught.value).splitlines())
    assert "adapter_config.json is missing" in first
    assert "config.json is damaged" in second


def test_a_record_of_an_earlier_release_still_counts(folder: Path) -> None:
    # Layout 1: weights alone, and no hash of the record.
    written = write_artifact(folder, artifact()).model_dump()
    del written["files_sha256"], written["record_sha256"]
    (folder / ARTIFACT_FILE).write_text(json.dumps({**written, "schema_version": 1}))
    assert is_current(folder, INPUTS)
    assert not is_current(folder, "f" * 64)


def test_a_record_of_a_later_release_is_hashed_by_what_it_holds(folder: Path) -> None:
    # An entry that this release fills in by itself must not make an older record look damaged.
    written = write_artifact(folder, artifact()).model_dump()
    del written["measured"], written["beside"], written["record_sha256"]
    (folder / ARTIFACT_FILE).write_text(
        json.dumps({**written, "record_sha256": inputs_fingerprint(written)})
    )
    assert is_current(folder, INPUTS)


def test_a_changed_digit_of_the_record_is_not_another_input(folder: Path) -> None:
    write_artifact(folder, artifact())
    path = folder / ARTIFACT_FILE
    path.write_text(path.read_text().replace(INPUTS, "f" + INPUTS[1:]))
    with pytest.raises(CheckpointError, match="does not match its own sha256"):
        is_current(folder, INPUTS)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_finished_folder_takes_its_place_whole(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, is_there: bool
) -> None:
    target = tmp_path_factory.mktemp("run") / "place"
    if is_there:
        target.mkdir()
        (target / "stale").write_text("of the folder before")
    names = {path.name for path in folder.iterdir()}
    put_in_place(folder, target)
    assert {path.name for path in target.iterdir()} == names
    assert not list(target.parent.glob(".*"))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no .*safetensors"):
        write_artifact(tmp_path, artifact())


def test_a_changed_weight_file_is_named(folder: Path) -> None:
    write_artifact(folder, artifact())
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is damaged"):
        verify(folder)


def test_a_missing_weight_file_is_named(folder: Path) -> None:
    write_artifact(folder, artifact())
    assert is_current(folder, INPUTS)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors is missing"):
        is_current(folder, INPUTS)
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors is missing"):
        verify(folder)


def test_other_inputs_are_not_current(folder: Path) -> None:
    write_artifact(folder, artifact())
    assert not is_current(folder, inputs_fingerprint({"seed": 1}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"kind": "sft"',
            '"kind": "critic"',
            "kind: .*Input should be one of start, sft",
        ),
        ('"base"', '"bass"', "base: Field required"),
        ("{", "", "damaged"),
        ('"schema_version": 3', '"schema_version": 4', "schema_version=4"),
    ],
)
def test_a_damaged_or_newer_record_is_one_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    write_artifact(folder, artifact())
    path = folder / ARTIFACT_FILE
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_artifact(folder)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_fingerprint_sees_values_and_not_order() -> None:
    one = inputs_fingerprint({"a": {"x": 1, "y": 0.1}, "b": [1, 2]})
    assert one == inputs_fingerprint({"b": [1, 2], "a": {"y": 0.1, "x": 1}})
    assert one != inputs_fingerprint({"a": {"x": 1, "y": 0.1}, "b": [2, 1]})
    assert one != inputs_fingerprint({"a": {"x": 1, "y": 0.2}, "b": [1, 2]})


def test_a_folder_of_the_first_layout_counts_config_and_weights_a_newer_one_all_it_loads(
    tmp_path: Path,
) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "x"):
        (tmp_path / name).write_text(name)
    (tmp_path / "rlhf_artifact.json").write_text("{}")
    weights = {"config.json", "model.safetensors"}
    first, second = identity(tmp_path, 1), identity(tmp_path, 2)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first.keys() == weights
    assert second.keys() == weights | {"tokenizer.json", "chat_template.jinja"}
    assert first.items() <= second.items()
    assert identity(tmp_path / "x", 2) == hashlib.sha256(b"x").hexdigest()
    assert identity(Path("org/model"), 2) == "org/model"
