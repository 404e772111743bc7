"""Section: strict values, and places that may start at home."""

from __future__ import annotations

import os

import pytest

from rlhf.config.load import load
from rlhf.config.section import absent, at_home
from rlhf.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("gpt2", ""),
        ("org/name", ""),
        ("here", ""),
        ("here/nope", "here/nope: there is no such folder, though here is one; give"),
        ("./nope", "./nope: there is no such folder; give"),
        ("/nope", "/nope: there is no such folder; give"),
        ("~/nope", "~/nope: there is no such folder; give"),
        ("runs/a/nope", "runs/a/nope: there is no such folder; give"),
    ],
)
def test_a_path_where_nothing_is_can_be_no_name_of_the_hub(tmp_path, monkeypatch, path, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    found = absent(path)
    assert found.startswith(told) and bool(found) is bool(told)


def test_home_is_the_shells():
    assert at_home("~/runs") == f"{os.environ['HOME']}/runs"
    assert at_home("~") == os.environ["HOME"]


@pytest.mark.parametrize("value", ["runs/~", "a~b", "~nobody-at-all/x", 3, None, ["~"]])
def test_everything_else_stays(value):
    assert at_home(value) == value


def test_every_place_knows_home():
    home = os.environ["HOME"]
    mapping = {
        "run_dir": "~/r",
        "policy": {"path": "~/p"},
        "reward": {"function": "~/f.py:f"},
        "data": {"prompts": ["~/a", {"path": "~/b"}], "preferences": "~/c"},
        "evaluation": {"judge": "~/j.py:j"},
    }
    found = load(mapping)
    assert found.run_dir == f"{home}/r"
    assert found.policy.path == f"{home}/p"
    assert found.reward.function == f"{home}/f.py:f"
    assert [source.path for source in found.data.sources("prompts")] == [f"{home}/a", f"{home}/b"]
    assert found.data.preferences == f"{home}/c"
    assert found.evaluation.judge == f"{home}/j.py:j"


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"policy": {"optimizer": {"betas": [0.9, 1.0]}}}, "betas.1=1.0: should be less than 1"),
        ({"policy": {"optimizer": {"betas": [-0.1, 0.9]}}}, "betas.0=-0.1: should be greater"),
        ({"policy": {"optimizer": {"lr": float("nan")}}}, "lr=nan: should be a finite number"),
        ({"value": {"optimizer": {"lr": -1.0}}}, "value.optimizer.lr=-1.0: should be greater"),
        ({"seed": 10**400}, "seed=a number of over 300 digits: should be between"),
        ({"reward": {"function_weight": -1e300}}, "reward.function_weight=-1e+300: should be"),
        ({"ppo": {"num_steps": 2**63}}, "ppo.num_steps=9.22337e+18: should be between"),
        ({"data": {"prompts": ["a", {"path": 3}]}}, "data.prompts.1.path=3: should be text"),
        ({"run_dir": "a\udcff"}, "cannot stand in a run's records"),
        ({"data": {"prompts": {}}}, "data.prompts={}: should be a list"),
        ({"data": {"prompts": {"path": "a"}}}, "data.prompts={'path': 'a'}: should be text"),
        ({"policy": {"optimizer": {"lr": {}}}}, "policy.optimizer.lr={}: should be a number"),
        ({"cluster": {"policy": {"ranks": {"x": {}}}}}, "cluster.policy.ranks={'x': {}}: should"),
    ],
)
def test_numbers_out_of_bounds_are_named(mapping, told):
    with pytest.raises(ConfigError) as caught:
        load(mapping)
    assert told in str(caught.value)


@pytest.mark.parametrize("value", ["x" * 256, "\u4e2d" * 90, "d/" * 1001, "a\0b"], ids=len)
def test_a_name_that_no_file_system_takes_is_refused_of_every_place(value):
    asked = {
        "run_dir": value,
        "policy": {"path": f"{value}/x"},
        "reward": {"function": f"{value}.py:f"},
    }
    with pytest.raises(ConfigError) as caught:
        load(asked)
    assert str(caught.value).count("no file system takes such a name") == 3


def test_the_longest_names_are_taken():
    assert load({"run_dir": "x" * 255}).run_dir == "x" * 255
