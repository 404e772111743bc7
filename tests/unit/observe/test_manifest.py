"""The manifest records what a run was made of; a resumed run keeps earlier entries."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version

import rlhf
from rlhf.observe.manifest import PACKAGES, note_reward, note_stage, versions, write_manifest

CONFIG = {"seed": 7, "ppo": {"kl_target": 6.0}}


def read(run):
    return json.loads((run / "manifest.json").read_text())


def test_it_holds_command_versions_machine_seed_data_and_configuration(tmp_path):
    write_manifest(tmp_path, "sft", ["rlhf", "sft", "name=a b"], CONFIG, {"a.jsonl": {"rows": 3}})
    found = read(tmp_path)
    assert found["rlhf_version"] == rlhf.__version__
    assert found["command"] == "rlhf sft 'name=a b'"
    assert (found["seed"], found["config"]) == (7, CONFIG)
    assert found["data"] == {"a.jsonl": {"rows": 3}}
    assert found["stages"] == {}
    assert found["versions"]["torch"] == version("torch")
    assert found["versions"]["python"].startswith("3.")
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_gib"] > 0


def test_a_resumed_run_keeps_its_start_its_data_and_its_stages(tmp_path):
    write_manifest(
        tmp_path, "sft", ["first"], CONFIG, {"a.jsonl": {"rows": 3}, "b.jsonl": {"rows": 1}}
    )
    note_stage(tmp_path, "sft", {"seconds": 61.0, "steps": 2})
    before = read(tmp_path)
    write_manifest(tmp_path, "sft", ["second"], {**CONFIG, "seed": 8}, {"b.jsonl": {"rows": 2}})
    after = read(tmp_path)
    assert after["created"] == before["created"]
    assert after["stages"] == {"sft": {"seconds": 61.0, "steps": 2}}
    assert after["data"] == {"a.jsonl": {"rows": 3}, "b.jsonl": {"rows": 2}}
    assert (after["command"], after["seed"]) == ("second", 8)


def test_a_stage_is_added_to_the_others_and_all_else_stays(tmp_path):
    write_manifest(tmp_path, "sft", ["rlhf"], CONFIG, {})
    before = read(tmp_path)
    note_stage(tmp_path, "sft", {"seconds": 1.0})
    note_stage(tmp_path, "ppo", {"seconds": 2.0})
    note_stage(tmp_path, "sft", {"seconds": 3.0})
    stages = {"sft": {"seconds": 3.0}, "ppo": {"seconds": 2.0}}
    assert read(tmp_path) == {**before, "stages": stages}


def test_a_damaged_manifest_is_written_anew(tmp_path):
    (tmp_path / "manifest.json").write_text('{"created": 5, "stages": 3, "data": []}')
    write_manifest(tmp_path, "sft", ["rlhf"], CONFIG, {})
    found = read(tmp_path)
    assert (found["created"], found["stages"], found["data"]) == (5, {}, {})


def test_every_package_has_a_version():
    found = versions()
    assert set(found) == set(PACKAGES)
    assert all(found.values())


def test_every_command_keeps_the_settings_it_last_had(tmp_path):
    write_manifest(tmp_path, "sft", ["rlhf", "sft"], CONFIG, {})
    write_manifest(tmp_path, "ppo", ["rlhf", "ppo"], {**CONFIG, "seed": 8}, {})
    write_manifest(tmp_path, "ppo", ["rlhf", "ppo"], {**CONFIG, "seed": 9}, {})
    found = read(tmp_path)["settings_of"]
    assert list(found) == ["sft", "ppo"]
    assert (found["sft"]["seed"], found["ppo"]["seed"]) == (7, 9)


def test_it_records_which_code_and_keeps_its_changes_beside_it(tmp_path):
    (tmp_path / "dirty.patch").write_text("of an earlier start")
    write_manifest(tmp_path, "sft", ["rlhf", "sft"], CONFIG, {})
    source, patch = read(tmp_path)["source"], tmp_path / "dirty.patch"
    assert {"commit", "lock_sha256", "installed_sha256"} <= set(source)
    kept = hashlib.sha256(patch.read_bytes()).hexdigest() if patch.exists() else None
    assert kept == source.get("patch_sha256")


def test_what_the_reward_is_made_of_stays_when_another_command_goes_on(tmp_path):
    write_manifest(tmp_path, "ppo", ["rlhf"], CONFIG, {})
    assert read(tmp_path)["reward"] == []
    note_reward(tmp_path, ["0.5 x function own.py:f", "1 x reward model m"])
    before = read(tmp_path)
    write_manifest(tmp_path, "sft", ["rlhf"], CONFIG, {})
    assert (
        read(tmp_path)["reward"]
        == before["reward"]
        == ["0.5 x function own.py:f", "1 x reward model m"]
    )
