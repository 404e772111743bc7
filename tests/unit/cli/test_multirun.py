"""Multirun: what a combination is called, what it changes, and where it starts from."""

from __future__ import annotations

import pytest

from rlhf.cli.multirun import (
    LONGEST_NAME,
    Multirun,
    handed_down,
    own_reward_models,
    swept_settings,
    trial_name,
)
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError


def composed(tmp_path, **changes):
    return {**Experiment().model_dump(mode="json"), "run_dir": str(tmp_path), **changes}


def test_a_trial_changes_what_is_not_fixed():
    words = ["++run_dir=runs/a", "++ppo.kl_coef=0.02", "algorithm=grpo"]
    changed = swept_settings(words, ["run_dir"])
    assert changed == {"ppo.kl_coef": "0.02", "algorithm": "grpo"}
    assert trial_name(changed) == "ppo.kl_coef=0.02,algorithm=grpo"


def test_names_are_folders_of_bearable_length_and_differ():
    long = [trial_name({"data.prompts": f"/a/{'x' * 300}{end}"}) for end in "12"]
    assert all("/" not in name and len(name) <= LONGEST_NAME for name in long)
    assert long[0] != long[1]
    assert trial_name({}) == "trial"


@pytest.mark.parametrize(
    ("command", "policy", "reward_model"),
    [("ppo", True, True), ("reward_model", True, False), ("pipeline", False, False)],
)
def test_trials_start_from_what_stands_beside_them(tmp_path, command, policy, reward_model):
    for folder in ("sft", "reward_model"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
    given = handed_down(command, composed(tmp_path))
    assert given["policy"]["path"] == (str(tmp_path / "sft") if policy else None)
    found = given["reward_model"]["path"]
    assert found == (str(tmp_path / "reward_model") if reward_model else None)


def test_what_is_named_is_not_replaced(tmp_path):
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "config.json").write_text("{}")
    own = composed(tmp_path, policy={"path": "mine", "new": None})
    assert handed_down("ppo", own)["policy"]["path"] == "mine"


@pytest.mark.parametrize(
    "given",
    [
        {"reward": {"function": "own.py:f"}},
        {"reward_model": {"path": "mine"}},
        {"reward": {"sources": [{"model": "mine"}]}},
    ],
)
def test_a_reward_that_is_named_is_all_of_it(tmp_path, given):
    (tmp_path / "reward_model").mkdir()
    (tmp_path / "reward_model" / "config.json").write_text("{}")
    own = composed(tmp_path)
    own |= {name: {**own[name], **section} for name, section in given.items()}
    handed = handed_down("ppo", own)
    assert (handed["reward"], handed["reward_model"]) == (own["reward"], own["reward_model"])


@pytest.mark.parametrize("is_there", [False, True])
def test_the_runs_own_reward_model_is_the_trials_unless_one_lies_beside_them(tmp_path, is_there):
    shared, trial = tmp_path / "reward_model", tmp_path / "ppo.kl_coef=0.1"
    if is_there:
        shared.mkdir()
        (shared / "config.json").write_text("{}")
    entries = [{"model": str(shared), "weight": 2.0}, {"model": "other"}, {"function": "a.py:f"}]
    own = composed(tmp_path)
    own["reward"] = {**own["reward"], "sources": entries}
    found = own_reward_models(own, trial)["reward"]["sources"]
    assert found[0] == {"model": str(shared if is_there else trial / "reward_model"), "weight": 2.0}
    assert found[1:] == entries[1:]
    assert own["reward"]["sources"] is entries
    own["reward"]["sources"] = ["no dictionary"]
    assert own_reward_models(own, trial)["reward"]["sources"] == ["no dictionary"]
    own["reward"]["sources"] = None
    assert own_reward_models(own, trial)["reward"] == own["reward"]


def test_the_folder_of_the_trials_is_not_swept(tmp_path):
    with Multirun("ppo", []) as multirun, pytest.raises(ConfigError, match="run_dir cannot"):
        multirun.take(composed(tmp_path), ["++run_dir=a"], is_grid=True)


def test_a_search_runs_one_trial_after_another(tmp_path):
    mapping = composed(tmp_path, sweep={"parallel": 2})
    with Multirun("ppo", []) as multirun, pytest.raises(ConfigError, match="sweep.parallel=2"):
        multirun.take(mapping, ["++ppo.kl_coef=0.1"], is_grid=False)


def test_trials_do_not_start_again_by_themselves(tmp_path):
    mapping = composed(tmp_path, cluster={"max_restarts": 2})
    with Multirun("ppo", []) as multirun:
        multirun.take(mapping, ["++ppo.kl_coef=0.1"], is_grid=True)
        with pytest.raises(ConfigError, match=r"cluster.max_restarts=2 is for a single run"):
            multirun.finish()
