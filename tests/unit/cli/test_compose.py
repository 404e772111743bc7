"""Compose: what was typed reaches the checks, whole, in the form Hydra needs."""

from __future__ import annotations

import sys

import pytest

from rlhf.cli.compose import as_hydra_override, compose_and_run, conf_folder, groups
from rlhf.errors import ConfigError


@pytest.fixture(autouse=True)
def same_argv():
    before = sys.argv
    yield
    sys.argv = before


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("ppo.kl_coef=0.1", "++ppo.kl_coef=0.1"),
        ("unknown.key=1", "++unknown.key=1"),
        ("recipe=quickstart", "recipe=quickstart"),
        ("peft=lora", "peft=lora"),
        ("peft.rank=4", "++peft.rank=4"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x"),
        ("+a=1", "+a=1"),
        ("~peft", "~peft"),
        ("-m", "-m"),
        ("--cfg", "--cfg"),
        ("job", "job"),
    ],
)
def test_only_settings_are_forced(typed, passed):
    assert as_hydra_override(typed) == passed


def test_the_groups_are_the_folders():
    assert groups() == ["algorithm", "peft", "recipe"]
    assert (conf_folder() / "config.yaml").is_file()


def test_all_faults_reach_the_user_at_once():
    with pytest.raises(ConfigError) as caught:
        compose_and_run("pipeline", ["ppo.kl_ceof=1", "sft.batch_size=x", "ppo.minibatch_size=48"])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("typed", ["hello", "a=[1", "recipe=nonsense"])
def test_what_hydra_refuses_is_one_line_without_its_advice(typed, capsys):
    with pytest.raises(ConfigError) as caught:
        compose_and_run("pipeline", [typed])
    assert "\n" not in str(caught.value)
    assert "HYDRA" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_a_sweep_tries_every_value_names_each_and_fails_once(tmp_path, capsys):
    swept = ["-m", f"run_dir={tmp_path}", "seed=3", "sft.batch_size=0,-1"]
    with pytest.raises(ConfigError):
        compose_and_run("sft", swept)
    told = capsys.readouterr().err
    assert "rlhf: sft.batch_size=0: " in told or "sft.batch_size=0" in told
    assert "sft.batch_size=-1" in told


def test_the_composed_configuration_can_be_shown(capsys):
    compose_and_run("pipeline", ["--cfg", "job", "ppo.kl_coef=0.7"])
    shown = capsys.readouterr().out
    assert "kl_coef: 0.7" in shown
    assert "minibatch_size: 32" in shown
