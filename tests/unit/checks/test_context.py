"""Case: which stages, models and roles a command comes to."""

from __future__ import annotations

import shutil

import pytest

from rlhf.catalog.stages import PPO, SFT
from rlhf.checks.context import reward_models, roles_needed
from rlhf.checks.preflight import preflight
from rlhf.errors import ConfigError, RLHFError
from tests import models


def test_a_stage_starts_from_what_this_run_made_before(context, folder, tmp_path):
    shutil.copytree(folder(), tmp_path / "run/sft")
    shutil.copytree(folder(kind="classifier"), tmp_path / "run/reward_model")
    nothing = {"policy": {}, "reward": {}}
    own = context(**nothing)
    assert own.start == str(tmp_path / "run/sft")
    own_model = str(tmp_path / "run/reward_model")
    assert reward_models(own) == {"reward_model.path": own_model}
    assert context("pipeline", **nothing).start is None
    assert context().start == folder()
    assert reward_models(context()) == {}, "a function judges alone"
    listed = {"sources": [{"model": own_model}, {"model": folder(kind="classifier")}]}
    assert list(reward_models(context(reward=listed))) == [
        "reward.sources.0.model",
        "reward.sources.1.model",
    ]


def test_models_are_those_that_the_stages_load(context, folder):
    given = {"reference": {"path": folder()}, "value": {"path": folder(kind="classifier")}}
    assert list(context(**given).models) == ["policy.path", "reference.path", "value.path"]
    demonstrations = context().experiment.data.prompts
    sft = context("sft", data={"demonstrations": demonstrations}, **given)
    assert sft.stages == [SFT]


def test_processes_are_started_for_the_roles_that_are_read():
    with_value = models.experiment()
    without = models.experiment(ppo={"advantage_estimator": "reinforce_pp"})
    assert roles_needed([PPO], with_value) == ["policy", "reference", "reward", "value"]
    assert roles_needed([PPO], without) == ["policy", "reference", "reward"]


def test_whose_ray_is_used(context, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    here, own = context(), context(backend="deepspeed")
    joined = context(backend="deepspeed", cluster={"address": "10.0.0.1:6379"})
    assert [(c.starts_ray, c.joins_ray) for c in (here, own, joined)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_a_judge_has_the_time_that_functions_have(context, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\n\ndef f(completions):\n    time.sleep(90)\n    return [0.0]\n")
    reward = {"function": f"{slow}:f", "timeout_s": 3.0}
    judge = context(reward=reward, evaluation={"judge": f"{slow}:f"}).judge
    assert judge is not None
    with pytest.raises(RLHFError, match="3 s"):
        judge.score(["p"], ["a"], [{}])


def test_a_column_that_some_rows_are_without_is_refused_before_it_is_needed(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "answer": 1}\n{"prompt": "b"}\n{"prompt": "c"}\n')
    reward = tmp_path / "wants.py"
    head = "def {}(completions, answer{}, **columns):\n    return [1.0] * len(completions)\n"
    reward.write_text(head.format("it", "") + head.format("may", "=None"))
    given = {"data": {"prompts": str(rows)}, "reward": {"function": f"{reward}:it"}}
    for sections in (given, {**given, "evaluation": {"judge": f"{reward}:it"}}):
        told = r"`answer`, a column that is not in 2 of 3 rows, the first .*rows\.jsonl:2; write"
        with pytest.raises(ConfigError, match=told) as caught:
            preflight(context(**sections))
        assert len(str(caught.value).splitlines()) == 1
    preflight(context(**{**given, "reward": {"function": f"{reward}:may"}}))
    # Said to be none, it is none: a function of several tasks may go by it.
    rows.write_text('{"prompt": "a", "answer": 1}\n{"prompt": "b", "answer": null}\n')
    preflight(context(**given))
