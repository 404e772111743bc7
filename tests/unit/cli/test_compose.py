"""Compose: what was typed reaches the checks, whole, in the form Hydra needs."""

from __future__ import annotations

import sys

import pytest
import yaml

from rlhf.cli.compose import compose_and_run, groups
from rlhf.errors import ConfigError
from rlhf.plugin import shipped


@pytest.fixture(autouse=True)
def same_argv():
    before = sys.argv
    yield
    sys.argv = before


def test_the_groups_are_the_folders():
    assert groups() == ["algorithm", "peft", "recipe"]
    assert (shipped("conf") / "config.yaml").is_file()


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


INTERPOLATIONS = [
    ("run_dir=${oc.env:NOPE_AT_ALL}", "Environment variable 'NOPE_AT_ALL' not found"),
    ("ppo.kl_coef=${nowhere.at_all}", "Interpolation key 'nowhere.at_all' not found"),
    ("ppo.kl_coef=${ppo.kl_coef}", "Recursive interpolation"),
    ("sft.batch_size=${unheard_of:1}", "Unsupported interpolation type unheard_of"),
    ("seed=${oc.decode:'{'}", "seed=${oc.decode:"),
    ("seed=???", "seed=??? cannot be resolved"),
    ("data.prompts=[a,'${nowhere}']", "data.prompts.1=${nowhere}"),
    ("run_dir='${'", "run_dir"),
    ("hydra.run.dir=${nowhere}", "hydra.run.dir"),
    ("run_dir=${oc.env:", "run_dir"),
]


@pytest.mark.parametrize(("typed", "told"), INTERPOLATIONS)
def test_an_interpolation_that_fails_is_one_line_naming_its_setting(typed, told):
    with pytest.raises(ConfigError) as caught:
        compose_and_run("report", [typed])
    assert told in str(caught.value)
    assert typed.partition("=")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_failing_interpolations_at_once():
    with pytest.raises(ConfigError) as caught:
        compose_and_run("report", ["run_dir=${oc.env:NOPE_AT_ALL}", "seed=${nowhere}"])
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "run_dir",
        "seed",
    ]


RATES = {"sft": 1e-5, "reward_model": 1e-5, "policy": 1e-6, "value": 1e-5}


@pytest.mark.parametrize(
    ("typed", "factor"), [((), 1), (("peft=lora",), 10), (("peft.method=lora",), 10)]
)
def test_the_rates_shown_are_those_of_the_method(capsys, typed, factor):
    compose_and_run("pipeline", ["--cfg", "job", *typed])
    shown = yaml.safe_load(capsys.readouterr().out)
    for name, whole in RATES.items():
        assert float(shown[name]["optimizer"]["lr"]) == pytest.approx(factor * whole)


def test_a_rate_that_is_given_wins(capsys):
    given = ["peft=lora", "value.optimizer.lr=3e-7"]
    compose_and_run("pipeline", ["--cfg", "job", *given])
    shown = yaml.safe_load(capsys.readouterr().out)
    assert float(shown["value"]["optimizer"]["lr"]) == 3e-7
    assert float(shown["policy"]["optimizer"]["lr"]) == 1e-5
