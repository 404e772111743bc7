"""What an evaluation takes from its run, and what the command line takes back."""

from __future__ import annotations

import json

import pytest

from rlhf.commands.evaluated import as_the_run_had
from rlhf.config.experiment import Experiment

SCHEMA = Experiment().model_dump(mode="json")


@pytest.fixture
def run(tmp_path):
    """A folder whose manifest has settings of its own."""
    data = {**SCHEMA["data"], "prompts": "p.jsonl", "test_prompts": "t.jsonl", "overlong": "drop"}
    config = {
        **SCHEMA,
        "seed": 7,
        "data": {**data, "of_old": 1},
        "generation": {**SCHEMA["generation"], "max_new_tokens": 32, "temperature": 0.8},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"config": config}))
    return tmp_path


@pytest.mark.parametrize("typed", ["run_dir={}", "++run_dir={}", "run_dir='{}'"])
def test_generation_and_data_are_the_runs(run, typed):
    found = as_the_run_had(SCHEMA, ["evaluation.judge=j.py:f", typed.format(run)])
    assert found["generation"]["max_new_tokens"] == 32
    assert (found["data"]["prompts"], found["data"]["overlong"]) == ("p.jsonl", "drop")
    assert "of_old" not in found["data"]
    assert found["seed"] == 0
    assert found["ppo"] == SCHEMA["ppo"]


def test_other_prompts_take_the_place_of_both(run):
    found = as_the_run_had(SCHEMA, [f"run_dir={run}", "data.prompts=other.jsonl"])
    assert (found["data"]["prompts"], found["data"]["test_prompts"]) == (None, None)
    assert found["data"]["overlong"] == "drop"
    assert (found["data"]["validation_fraction"], found["data"]["test_fraction"]) == (0.0, 0.0)
    assert found["evaluation"]["num_prompts"] is None


@pytest.mark.parametrize("typed", ["p.jsonl", "./p.jsonl", "'p.jsonl'"])
def test_of_the_runs_own_prompts_those_held_out_are_asked(run, typed):
    found = as_the_run_had(SCHEMA, [f"run_dir={run}", f"data.prompts={typed}"])
    assert found["data"]["test_fraction"] == SCHEMA["data"]["test_fraction"] > 0
    assert found["evaluation"] == SCHEMA["evaluation"]


def test_given_prompts_are_all_asked_where_there_is_no_run(tmp_path):
    found = as_the_run_had(SCHEMA, [f"run_dir={tmp_path}", "data.prompts=q.jsonl"])
    assert found["data"]["test_fraction"] == found["data"]["validation_fraction"] == 0.0
    assert found["evaluation"]["num_prompts"] is None


def test_without_a_manifest_nothing_changes(tmp_path):
    assert as_the_run_had(SCHEMA, [f"run_dir={tmp_path}"]) == SCHEMA
    (tmp_path / "manifest.json").write_text("[]")
    assert as_the_run_had(SCHEMA, [f"run_dir={tmp_path}"]) == SCHEMA
