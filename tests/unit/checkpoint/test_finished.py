"""Every finished model of a run is looked at, and all that is damaged is told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.artifact import KINDS, Artifact, write_artifact
from rlhf.checkpoint.files import write_json, write_tensors
from rlhf.checkpoint.finished import check_all_finished, check_finished, finished
from rlhf.checkpoint.run import SCHEMA_VERSION
from rlhf.errors import CheckpointError

WEIGHTS = "model.safetensors"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with all the models there are."""
    record = {"run_id": "a", "stages": {}, "schema_version": SCHEMA_VERSION}
    write_json(tmp_path / "run.json", record)
    for kind in KINDS:
        write_tensors(tmp_path / kind / WEIGHTS, {"w": torch.ones(9)})
        beside = ["value"] if kind == "policy" else []
        artifact = Artifact(
            kind=kind,
            head_trained=True,
            tokenizer_sha256="t",
            chat_template_sha256=None,
            base="b",
            inputs_sha256="i",
            beside=beside,
        )
        write_artifact(tmp_path / kind, artifact)
    return tmp_path


def damage(run_dir: Path, *kinds: str) -> None:
    for kind in kinds:
        (run_dir / kind / WEIGHTS).write_bytes(b"other")


def test_whole_models_are_counted(run_dir: Path, tmp_path: Path) -> None:
    assert check_all_finished(run_dir) == len(KINDS) == len(finished(run_dir))
    assert check_finished(run_dir / "sft") == "whole, 1 files"
    assert check_all_finished(tmp_path / "nowhere") == 0


def test_the_damage_of_all_folders_is_told_at_once(run_dir: Path) -> None:
    damage(run_dir, *KINDS)
    with pytest.raises(CheckpointError) as caught:
        check_all_finished(run_dir)
    lines = str(caught.value).splitlines()
    assert [line.partition(" is damaged")[0] for line in lines] == [
        str(run_dir / kind / WEIGHTS) for kind in KINDS
    ]


def test_a_model_that_was_made_with_another_must_lie_beside_it(run_dir: Path) -> None:
    (run_dir / "value").rename(run_dir / "elsewhere")
    with pytest.raises(CheckpointError, match="value is missing, though it was made with"):
        check_all_finished(run_dir)
    # A kill while it was being replaced: opening the run puts it back.
    (run_dir / "elsewhere").rename(run_dir / ".value.old")
    assert check_all_finished(run_dir) == len(KINDS) - 1


def test_first_weights_of_an_earlier_layout_have_no_record(run_dir: Path) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    write_json(run_dir / "run.json", {**record, "schema_version": 2})
    damage(run_dir, "start")
    assert check_all_finished(run_dir) == len(KINDS)
