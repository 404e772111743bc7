"""Doctor: one line a check, and an exit code that is not 0 when one of them failed."""

from __future__ import annotations

import pytest

from rlhf.checks.context import CheckContext
from rlhf.checks.doctor import diagnose
from rlhf.checks.listing import CHECKS
from rlhf.cli.main import main
from rlhf.errors import ConfigError
from tests import models


def test_a_run_that_would_work(folder, tmp_path, capsys):
    prompts, reward = tmp_path / "q.jsonl", tmp_path / "reward.py"
    prompts.write_text('{"prompt": "film"}\n' * 4)
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    settings = (
        f"run_dir={tmp_path}/run",
        f"policy.path={folder()}",
        f"data.prompts={prompts}",
        f"reward.function={reward}:one",
        "generation.max_new_tokens=8",
        "cluster.backend=in_process",
        "engine.backend=torch",
    )
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "ppo", *settings])
    # DeepSpeed logs a line of its own where this is the first test to import it.
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("[")]
    assert [line.split(":")[0] for line in lines] == [f"ok    {check.name}" for check in CHECKS]
    assert "ppo would run ppo" in lines[1]
    assert ended.value.code == 0
    assert not (tmp_path / "run").exists()


def test_every_failure_is_reported_and_none_ends_the_checks(folder, capsys):
    bad = models.experiment("deepspeed", cluster={"address": "local", "value": {"ranks": 999}})
    with pytest.raises(ConfigError, match="2 of 17 checks failed"):
        diagnose(CheckContext("pipeline", bad))
    told = capsys.readouterr().out
    assert "FAIL  settings: data.prompts is not set" in told
    assert "skip  data: needs folders" in told
    assert "FAIL  cluster: cluster.value.ranks=999" in told


def test_the_exit_code_of_a_failure(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == ConfigError.exit_code
    assert "checks failed" in capsys.readouterr().err
