"""`rlhf submit`: faults of its command line are reported before anything is sent."""

from __future__ import annotations

import pytest

from rlhf.cli.main import COMMANDS, main
from rlhf.cli.submit import submit
from rlhf.errors import ConfigError

NOWHERE = ("--address", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to do; give a COMMAND, or --id"),
        (("pipelin", "run_dir=/shared/x"), "rlhf submit pipelin: there is no such command; legal:"),
        (("pipeline", "ppo.kl_coef=0.1"), "run_dir, which is not given, must be an absolute path"),
        (("ppo", "run_dir=runs/x"), "run_dir=runs/x must be an absolute path on a disk that all"),
        (("ppo", "run_dir=/shared/x", "++run_dir=x"), "run_dir=x must be an absolute path"),
        (("--env", "NOT_SET_HERE", "doctor"), "--env NOT_SET_HERE: not set on this machine"),
        ((*NOWHERE, "doctor"), "http://127.0.0.1:9: no Ray dashboard answers there"),
        ((*NOWHERE, "pipeline", "run_dir=/shared/x"), "no Ray dashboard answers there"),
    ],
)
def test_what_is_wrong_is_reported(arguments, said):
    with pytest.raises(ConfigError) as error:
        submit(arguments, COMMANDS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--env", "HF_TOKEN=hf_canary0001", "doctor"),
        ("--env", "WANDB_API_KEY", "doctor"),
        ("--env", "NOTE=hf_canary0002", "doctor"),
        ("--env", "HTTPS_PROXY=http://me:hf_canary0001@proxy", "doctor"),
        ("ppo", "run_dir=/shared/x", "tracking.project=hf_canary0002"),
        ("ppo", "run_dir=/shared/x", "data.prompts=https://me:hf_canary0001@host/x"),
    ],
)
def test_a_secret_is_not_handed_in(arguments, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "hf_canary0002")
    with pytest.raises(ConfigError, match="holds (a secret|the value|a password)") as error:
        submit((*NOWHERE, *arguments), COMMANDS)
    assert "canary" not in str(error.value)
    assert "HF_TOKEN_PATH" in str(error.value)


@pytest.mark.parametrize("arguments", [("--frobnicate", "doctor"), ("--id",)])
def test_an_unknown_option_ends_with_the_code_of_bad_input(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        submit(arguments, COMMANDS)
    assert ended.value.code == 2
    assert "usage: rlhf submit" in capsys.readouterr().err


def test_help_explains_how_a_job_ends(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["submit", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("--address", "--id", "--env", "--no-wait", "RAY_AUTH_TOKEN", "exit codes"):
        assert word in said


def test_a_job_does_not_hand_in_another(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["submit", "submit", "doctor"])
    assert ended.value.code == 2
    assert "rlhf submit submit: there is no such command" in capsys.readouterr().err
