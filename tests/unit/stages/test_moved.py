"""A run that was moved: its adapters find their base where it lies now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlhf.checkpoint.artifact import Artifact, verify, write_artifact
from rlhf.checkpoint.files import write_json, write_tensors
from rlhf.errors import CheckpointError
from rlhf.stages.moved import follow_move, moved_bases, settle_base

RECORD = Artifact(
    kind="policy",
    head_trained=True,
    tokenizer_sha256="t",
    chat_template_sha256=None,
    base="b",
    inputs_sha256="i",
)


def named(folder: Path) -> str:
    return json.loads((folder / "adapter/adapter_config.json").read_text())[
        "base_model_name_or_path"
    ]


def adapters(folder: Path, base: Path | str, *, schema_version: int = 3) -> Path:
    """Make a signed model folder with adapters on a base."""
    for weights in (folder / "model.safetensors", folder / "adapter/adapter_model.safetensors"):
        write_tensors(weights, {})
    write_json(
        folder / "adapter/adapter_config.json", {"r": 8, "base_model_name_or_path": str(base)}
    )
    write_artifact(folder, RECORD.model_copy(update={"schema_version": schema_version}))
    return folder


def test_adapters_of_a_moved_run_name_their_base_anew_and_stay_whole(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_tensors(old / "sft/model.safetensors", {})
    adapters(old / "policy", (old / "sft").absolute())
    assert follow_move(old) == []
    old.rename(new)
    assert [(a, b) for a, _, b in moved_bases(new)] == [(new / "policy/adapter", new / "sft")]
    (line,) = follow_move(new)
    assert line == (
        f"{new}/policy/adapter names its base anew: {new}/sft, which was moved from {old}/sft"
    )
    assert named(new / "policy") == str(new / "sft")
    verify(new / "policy")
    assert follow_move(new) == []


@pytest.mark.parametrize("base", ["org/model", "/nowhere/model", "/nowhere/run/value"])
def test_a_base_that_is_no_folder_of_the_run_stays_named(tmp_path: Path, base: str) -> None:
    (tmp_path / "sft").mkdir()
    adapters(tmp_path / "policy", base)
    assert follow_move(tmp_path) == []
    assert named(tmp_path / "policy") == base


def test_a_record_that_counts_the_path_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    adapters(tmp_path / "policy", "/gone/sft", schema_version=2)
    assert follow_move(tmp_path) == []


def test_all_else_of_the_adapters_is_still_held_to_its_hash(tmp_path: Path) -> None:
    folder = adapters(tmp_path / "policy", "/gone/sft")
    write_json(folder / "adapter/adapter_config.json", {"r": 9, "base_model_name_or_path": "/x"})
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is damaged"):
        verify(folder)


def test_links_of_a_scalar_models_base_hold_in_a_moved_run(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere/w.safetensors"
    write_tensors(run / "sft/model.safetensors", {})
    write_tensors(elsewhere, {})
    partial = run / ".value.partial"
    base = partial / "adapter/base"
    base.mkdir(parents=True)
    (base / "model.safetensors").symlink_to((run / "sft/model.safetensors").absolute())
    (base / "other.safetensors").symlink_to(elsewhere)
    write_json(partial / "adapter/adapter_config.json", {"base_model_name_or_path": str(base)})
    settle_base(partial, run / "value")
    partial.rename(run / "value")
    assert named(run / "value") == str(run / "value/adapter/base")
    run.rename(tmp_path / "moved")
    links = tmp_path / "moved/value/adapter/base"
    assert (links / "model.safetensors").readlink() == Path("../../../sft/model.safetensors")
    assert (links / "model.safetensors").is_file()
    assert (links / "other.safetensors").readlink() == elsewhere
