"""Models: those that cannot be used are reported before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlhf.checkpoint.artifact import Artifact, write_artifact
from rlhf.checks.models import check_folders, check_models, check_reward_head
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.errors import CheckpointError, ModelError


def signed(folder: Path, kind: str, *, trained: bool = True) -> dict[str, str]:
    """Sign a model folder as a finished stage does; return the setting that names it."""
    artifact = Artifact(
        kind=kind,
        head_trained=trained,
        tokenizer_sha256=fingerprint(load_tokenizer(str(folder))),
        chat_template_sha256=None,
        base="somewhere",
        inputs_sha256="0",
    )
    write_artifact(folder, artifact)
    return {"path": str(folder)}


def test_whole_models_pass(context, folder):
    given = {"reward_model": {"path": folder(kind="classifier")}, "reference": {"path": folder()}}
    assert check_models(context(**given)).count("path=") == 3


def test_all_models_that_cannot_be_used_are_reported_at_once(context, folder, tmp_path):
    broken = context(reward_model={"path": folder()}, reference={"path": str(tmp_path / "nowhere")})
    with pytest.raises(ModelError) as caught:
        check_models(broken)
    first, second = str(caught.value).splitlines()
    assert "nowhere" in first
    assert "no trained score head" in second


def test_a_model_no_stage_reads_is_not_looked_at(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a film"}\n')
    asked = context(
        "sft", data={"demonstrations": str(rows)}, reference={"path": str(tmp_path / "nowhere")}
    )
    check_models(asked)


def test_this_runs_own_reward_model_is_looked_at(context, folder, tmp_path):
    shutil.copytree(folder(), tmp_path / "run/reward_model")
    with pytest.raises(ModelError, match="no trained score head"):
        check_models(context(reward={}))


def test_a_finished_folder_of_the_right_kind_passes(context, copied):
    check_models(context(policy=signed(copied(), "sft")))


def test_a_folder_of_another_kind_is_refused(context, copied):
    with pytest.raises(CheckpointError, match="is a value; what is wanted here"):
        check_models(context(policy=signed(copied(), "value")))


def test_damaged_weights_are_named(context, copied):
    made = copied()
    asked = context(policy=signed(made, "sft"))
    weights = bytearray((made / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (made / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        check_models(asked)


def test_another_tokenizer_than_in_training_is_refused(context, copied):
    made = copied()
    asked = context(policy=signed(made, "sft"))
    tokenizer = load_tokenizer(str(made))
    tokenizer.chat_template = "{{ 'another' }}"
    tokenizer.save_pretrained(made)
    with pytest.raises(
        CheckpointError, match=r"(chat_template.jinja|tokenizer_config.json) is damaged"
    ):
        check_models(asked)


def test_a_trained_head_is_seen_to_score(context, folder):
    assert check_reward_head(context()) == "no trained reward model is given"
    asked = context(reward_model={"path": folder(kind="classifier")})
    assert "two texts get" in check_reward_head(asked)


def test_a_head_whose_record_says_untrained_is_refused(context, copied):
    given = signed(copied("classifier"), "reward_model", trained=False)
    with pytest.raises(CheckpointError, match="its head was never trained"):
        check_reward_head(context(reward_model=given))


def test_every_folder_with_damaged_files_is_reported(context, copied):
    one, other = copied(), copied("classifier")
    (one / "generation_config.json").write_text("[]")
    (other / "config.json").write_text("{")
    with pytest.raises(ModelError) as caught:
        check_folders(context(policy={"path": str(one)}, reward_model={"path": str(other)}))
    first, second = str(caught.value).splitlines()
    assert "generation_config.json holds a list" in first
    assert "config.json is not JSON" in second
    assert check_folders(context()) == "1 to load"


def test_folders_are_looked_at_before_a_tokenizer_is_read_from_one(context, copied):
    made = copied()
    (made / "tokenizer.json").write_text("{}")
    (made / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is not JSON"):
        check_folders(context(policy={"path": str(made)}))
