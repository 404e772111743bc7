"""Completion: what the shell's script asks is answered, in bash itself too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.cli.completion import complete
from rlhf.cli.main import COMMANDS
from rlhf.config.load import keys
from rlhf.errors import ConfigError

ROOT = Path(__file__).parents[3]
ASK = """
eval "$(rlhf ppo --shell-completion install=bash)"
COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=$2
hydra_bash_completion
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def proposed(monkeypatch, capsys):
    """Ask as the script does: the line is in the environment."""

    def ask(line):
        monkeypatch.setenv("COMP_LINE", line)
        complete(["-sc", "query=bash"], COMMANDS)
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.split()

    return ask


def test_the_first_word_is_a_command(proposed):
    assert proposed("rlhf ") == list(COMMANDS)
    assert proposed("rlhf p") == ["pipeline", "ppo", "plan"]
    assert proposed("rlhf nonsense ppo.") == []
    assert set(proposed("rlhf doctor pp")) == {"ppo"}


@pytest.mark.parametrize("before", ["ppo", "pipeline", "doctor ppo", "submit ppo"])
def test_the_others_are_settings_and_groups(proposed, before):
    wanted = {f"{key}=" for key in keys() if key.startswith("ppo.kl")}
    assert wanted and set(proposed(f"rlhf {before} seed=1 ppo.kl")) == wanted
    sections = {word.rstrip(".=") for word in proposed(f"rlhf {before} ")}
    assert sections >= {key.partition(".")[0] for key in keys()} | {"recipe", "algorithm"}


def test_names_of_a_group_and_files_are_values(proposed, tmp_path):
    names = {path.stem for path in (ROOT / "conf/recipe").glob("*.yaml")}
    assert set(proposed("rlhf pipeline recipe=")) >= {f"recipe={name}" for name in names}
    (tmp_path / "rows.jsonl").touch()
    line = f"rlhf sft data.demonstrations={tmp_path}/ro"
    assert proposed(line) == [f"data.demonstrations={tmp_path}/rows.jsonl"]


@pytest.mark.parametrize("line", ["rlhf ppo hello x", "rlhf reproduce ru", "rlhf ppo a=[ x", ""])
def test_where_nothing_fits_nothing_is_said(proposed, line):
    assert not [word for word in proposed(line) if "=" in word]


@pytest.mark.parametrize(
    "asked", [["-sc"], ["-sc", "install=csh"], ["-sc", "install=bash", "query=bash"]]
)
def test_a_wrong_question_is_one_line(asked):
    with pytest.raises(ConfigError, match=r"legal: -sc install\|uninstall\|query=bash\|fish\|zsh"):
        complete(asked, COMMANDS)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("rlhf ppo ppo.mini", "ppo.minibatch_size="), ("rlhf eval", "evaluate")],
)
def test_bash_proposes_them(tmp_path, line, wanted):
    program = tmp_path / "rlhf"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rlhf "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        ["bash", "-c", ASK, "ask", line, str(len(line.split()) - 1)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (said.stdout.strip(), said.stderr) == (wanted, "")
