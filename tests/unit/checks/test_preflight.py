"""Preflight: a run stops before it starts, with all that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlhf.checkpoint.files import write_json
from rlhf.checkpoint.run import SCHEMA_VERSION
from rlhf.checks.context import CheckContext
from rlhf.checks.preflight import preflight
from rlhf.errors import CheckpointError, ConfigError, ModelError
from tests import models
from tests.unit.checks.test_models import signed


@pytest.fixture
def asked(tmp_path, folder):
    """Make a PPO run that would work, with changes."""
    prompts, reward = tmp_path / "prompts.jsonl", tmp_path / "reward.py"
    prompts.write_text('{"prompt": "film"}\n' * 4)
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")

    def make(backend: str = "torch", **sections: object) -> CheckContext:
        given = {"policy": {"path": folder()}, "data": {"prompts": str(prompts)}}
        given |= {"reward": {"function": f"{reward}:one"}, **sections}
        run_dir = {"run_dir": str(tmp_path / "run")}
        return CheckContext("ppo", models.experiment(backend, **given).model_copy(update=run_dir))

    return make


def test_a_run_that_would_work(asked, tmp_path):
    assert preflight(asked()) == []
    assert not (tmp_path / "run").exists()


def test_problems_of_several_checks_are_reported_at_once(asked, tmp_path):
    nowhere = {"reference": {"path": str(tmp_path / "nowhere")}}
    broken = asked("deepspeed", cluster={"address": "local", "value": {"ranks": 999}}, **nowhere)
    with pytest.raises(ModelError) as caught:
        preflight(broken)
    first, *others = str(caught.value).splitlines()
    assert "nowhere: there is no such folder" in first
    assert "cluster.value.ranks=999" in others[0]


def test_a_problem_that_two_checks_meet_is_reported_once(asked):
    with pytest.raises(ConfigError) as caught:
        preflight(asked(ppo={"advantage_estimator": "grop"}))
    assert str(caught.value).count("grop:") == 1


def test_warnings_are_handed_on(asked, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (warning,) = preflight(asked("deepspeed", cluster={"address": "local"}))
    assert "RAY_AUTH_MODE=disabled asks for no token" in warning


def test_raw_settings_that_deepspeed_does_not_know_are_refused(asked):
    engine = {"zero_stage": 2, "deepspeed": {"zero_optimization": {"overlap_com": True}}}
    broken = asked("deepspeed", engine={"backend": "deepspeed", **engine})
    with pytest.raises(ConfigError, match=r"zero_optimization\.overlap_com=True.*no such key"):
        preflight(broken)


def test_a_run_taken_up_again_tells_the_damage_of_all_its_models(asked, tmp_path, folder):
    signed_run(tmp_path / "run", folder, "start", "sft", "value", "policy")
    for kind in ("sft", "value", "policy"):
        (tmp_path / "run" / kind / "config.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        preflight(asked())
    lines = str(caught.value).splitlines()
    assert [Path(line.partition(" is damaged")[0]).parent.name for line in lines] == [
        *("sft", "policy", "value")
    ]


def signed_run(run_dir: Path, folder, *kinds: str) -> None:
    """Make a run's folder with finished models."""
    record = {"run_id": "a", "stages": {}, "schema_version": SCHEMA_VERSION}
    write_json(run_dir / "run.json", record)
    for kind in kinds:
        shutil.copytree(folder(), run_dir / kind)
        signed(run_dir / kind, kind)
