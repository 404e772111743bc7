"""Settings from Python are those of the command line, or the same one line."""

from __future__ import annotations

import json

import pytest
import yaml

from rlhf.cli.compose import compose_and_run
from rlhf.cli.settings import compose_settings
from rlhf.errors import ConfigError

TYPED = ["recipe=quickstart", "peft=lora", "ppo.kl_coef=0.3", "run_dir=a b, c=d", "seed=7"]


def test_they_are_those_that_the_command_line_composes(capsys):
    compose_and_run("pipeline", ["--cfg", "job", *TYPED])
    shown = yaml.safe_load(capsys.readouterr().out)
    found = compose_settings("pipeline", TYPED).model_dump(mode="json")
    assert found["run_dir"] == "a b, c=d" and found["ppo"]["kl_coef"] == 0.3
    for section in ("ppo", "sft", "value", "peft", "generation", "seed"):
        assert as_numbers(shown[section]) == as_numbers(found[section]), section


def as_numbers(value):
    """YAML writes 1e-05 as a text."""
    if isinstance(value, dict):
        return {key: as_numbers(each) for key, each in value.items()}
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def test_evaluate_takes_what_the_run_had(tmp_path):
    had = {"generation": {"temperature": 0.5}, "data": {"prompts": "mine.jsonl"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"config": had}))
    found = compose_settings("evaluate", [f"run_dir={tmp_path}"])
    assert (found.generation.temperature, found.data.prompts) == (0.5, "mine.jsonl")
    assert compose_settings("ppo", [f"run_dir={tmp_path}"]).generation.temperature == 1.0


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("-m", "not a setting"),
        ("--cfg=job", "not a setting"),
        ("hello", "not a setting"),
        ("hydra.run.dir=x", "not a setting"),
        ("hydra/sweeper=optuna", "not a setting"),
        ("ppo.kl_coef=0.1,0.2", "several values are for a sweep"),
        ("a=[1", "a=[1: no viable alternative"),
        ("recipe=nonsense", "recipe=nonsense: there is no such recipe; nearest: none"),
        ("ppo.kl_ceof=1", "unknown setting; nearest: ppo.kl_coef"),
        ("run_dir=${oc.env:NOPE_AT_ALL}", "run_dir=${oc.env:NOPE_AT_ALL} cannot be resolved"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_exit(word, told, capsys):
    with pytest.raises(ConfigError) as caught:
        compose_settings("ppo", [word])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value) and "provider=" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_one_configuration_leaves_nothing_behind_for_the_next():
    compose_settings("ppo", ["ppo.kl_coef=0.7", "peft=lora"])
    assert compose_settings("ppo", []).ppo.kl_coef != 0.7
    assert compose_settings("ppo", []).peft.method == "none"
