"""Doctor: one line a check, and an exit code that counts the failures."""

from __future__ import annotations

import json

import pytest

from rlhf.cli.doctor import examine
from rlhf.errors import ConfigError
from tests import models


@pytest.fixture
def data(tmp_path):
    prompts = tmp_path / "q.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"p {i}"}) + "\n" for i in range(8)))
    reward = tmp_path / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    return {"data": {"prompts": str(prompts)}, "reward": {"function": f"{reward}:one"}}


def test_a_run_that_would_work(data, folder, capsys):
    examine(models.experiment(policy={"path": folder()}, **data))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"ok    {name}"
        for name in ("packages", "cores", "disk", "settings", "data and tokenizer", "reward model")
    ]
    assert "the pipeline would run ppo" in lines[3]


def test_every_failure_is_told_and_none_ends_the_examination(folder, capsys):
    bad = models.experiment(
        "deepspeed", cluster={"value": {"ranks": 999}}, reward_model={"path": folder()}
    )
    with pytest.raises(ConfigError, match="4 of 6 checks failed"):
        examine(bad)
    told = capsys.readouterr().out
    assert "FAIL  cores: a role has 999 ranks" in told
    assert "FAIL  settings: data.prompts is not set" in told
    assert "FAIL  data and tokenizer: policy.path is not set" in told
    assert "FAIL  reward model: " in told
