"""Commands, run on a checked Experiment without the command line before them."""

from __future__ import annotations

import json

import pytest

from rlhf.commands.table import run_command
from rlhf.config.load import load
from rlhf.errors import ConfigError, RLHFError
from tests import models


@pytest.fixture
def asked(tmp_path, folder):
    """A PPO run of two steps, scored by a function and evaluated by another."""
    prompts = tmp_path / "q.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"film {i}"}) + "\n" for i in range(12)))
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def length(completions, **columns):\n    return [float(len(c)) for c in completions]\n"
    )
    return {
        "run_dir": str(tmp_path / "run"),
        "tracking": {"console": False},
        "data": {"prompts": str(prompts)},
        "policy": {"path": folder(), "optimizer": models.optimizer()},
        "reward": {"function": f"{reward}:length"},
        "ppo": {"num_steps": 2, "rollout_batch_size": 4, "minibatch_size": 4, "num_epochs": 1},
        "generation": {"max_new_tokens": 6},
        "engine": {"backend": "torch"},
        "cluster": {"backend": "in_process"},
    }


def test_training_gives_the_last_mean_score(asked, tmp_path):
    score = run_command("ppo", load(asked))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert score == rows[-1]["metrics"]["objective/scores"]


def test_with_a_judge_it_gives_the_win_rate(asked, tmp_path):
    judged = {**asked, "evaluation": {"judge": asked["reward"]["function"]}}
    rate = run_command("ppo", load(judged))
    assert rate == json.loads((tmp_path / "run/evaluation.json").read_text())["win_rate"]


def test_a_run_that_failed_before_its_first_step_binds_nobody_to_its_settings(asked, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("def length(completions, **columns):\n    return 1 / 0\n")
    with pytest.raises(RLHFError, match="ZeroDivisionError"):
        run_command("ppo", load({**asked, "reward": {"function": f"{broken}:length"}}))
    run_command("ppo", load(asked))
    other = {**asked, "seed": 5}
    with pytest.raises(ConfigError, match=r"belongs to another run: differs in seed"):
        run_command("ppo", load(other))


def test_what_is_missing_is_reported_before_a_folder_is_made(asked, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.preferences is not set"):
        run_command("reward_model", load(asked))
    assert not (tmp_path / "run").exists()


def test_a_report_of_no_run(asked):
    with pytest.raises(ConfigError, match="holds no run"):
        run_command("report", load(asked))


@pytest.mark.parametrize("command", ["ppo", "evaluate"])
def test_a_judge_has_the_time_limit_of_a_reward_function(asked, tmp_path, command):
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(1000)")
    reward = {**asked["reward"], "timeout_s": 6.0}
    policies = dict.fromkeys(("candidate", "baseline"), asked["policy"]["path"])
    own = {"reward": reward, "evaluation": {"judge": f"{slow}:f", **policies}}
    with pytest.raises(ConfigError, match=r"slow.py:f: loading .* after reward.timeout_s=6 s"):
        run_command(command, load({**asked, **own}))


def test_all_that_evaluate_lacks_is_named_at_once(asked, tmp_path):
    bare = {**asked, "data": {}}
    with pytest.raises(ConfigError) as caught:
        run_command("evaluate", load(bare))
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[0].split("=")[0] for line in lines] == [
        "evaluation.judge",
        "data.prompts",
        "run_dir",
        "run_dir",
    ]
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_with_judge_and_policies_is_named_at_once(asked, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "judge.py").write_text("def other(completions): return []")
    wrong = {"judge": f"{tmp_path}/judge.py:f", "candidate": f"{tmp_path}/empty"}
    wrong["baseline"] = f"{tmp_path}/empty/too"
    with pytest.raises(ConfigError) as caught:
        run_command("evaluate", load({**asked, "evaluation": wrong}))
    message = str(caught.value)
    assert all(word in message for word in ("judge.py", "empty", "empty/too"))
