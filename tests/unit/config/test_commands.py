"""Commands: which stages and roles a command needs, and what it misses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT, STAGES
from rlhf.config.commands import missing, roles_of, stages_of
from rlhf.config.experiment import Experiment
from rlhf.config.load import load


@pytest.fixture
def made(tmp_path):
    def make(**sections: object) -> Experiment:
        return load({"run_dir": str(tmp_path / "run"), **sections})

    return make


ALL_DATA = {"demonstrations": "d.jsonl", "preferences": "p.jsonl", "prompts": "q.jsonl"}


def test_a_single_command_is_its_own_stage(made):
    for stage in STAGES:
        assert stages_of(stage.name, made(data=ALL_DATA)) == [stage]
    assert stages_of("report", made()) == []


def test_the_pipeline_leaves_out_what_it_has_no_data_for(made):
    assert stages_of("pipeline", made(data=ALL_DATA)) == [SFT, REWARD_MODEL, PPO]
    assert stages_of("pipeline", made(data={"prompts": "q.jsonl"})) == [PPO]
    given = made(data=ALL_DATA, reward_model={"path": "folder"})
    assert stages_of("pipeline", given) == [SFT, PPO]


def test_roles_follow_from_stages(made):
    assert roles_of([SFT], made()) == ["policy"]
    assert roles_of([SFT, REWARD_MODEL], made()) == ["policy", "reward"]
    assert roles_of([PPO], made()) == ["policy", "reference", "reward", "value"]
    assert roles_of([PPO], made(peft={"method": "lora"})) == ["policy", "reward", "value"]


def test_everything_missing_is_reported_at_once(made):
    told = list(missing("pipeline", made()))
    assert len(told) == 3
    assert "data.prompts=FILE.jsonl" in told[0]
    assert told[1].startswith("policy.path is not set")
    assert told[2].startswith("ppo has no reward")


def test_nothing_is_missing_from_a_whole_pipeline(made):
    assert not list(missing("pipeline", made(data=ALL_DATA, policy={"path": "model"})))


def test_a_new_model_needs_sft_first(made):
    new = made(
        data={"prompts": "q.jsonl"}, policy={"new": {}}, reward={"function": "reward.py:score"}
    )
    assert list(missing("ppo", new)) == [
        "policy.new needs SFT first: set data.demonstrations and run sft or pipeline"
    ]


@pytest.mark.parametrize("reward", ["function", "model"])
def test_one_source_of_scores_is_enough(made, reward):
    sources = {
        "function": {"reward": {"function": "reward.py:score"}},
        "model": {"reward_model": {"path": "folder"}},
    }
    asked = made(data={"prompts": "q.jsonl"}, policy={"path": "model"}, **sources[reward])
    assert not list(missing("ppo", asked))


def test_what_an_earlier_command_left_in_the_run_counts(made):
    asked = made(data={"prompts": "q.jsonl"})
    assert len(list(missing("ppo", asked))) == 2
    for name in ("sft", "reward_model"):
        folder = Path(asked.run_dir) / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert not list(missing("ppo", asked))
    assert len(list(missing("pipeline", asked))) == 2
