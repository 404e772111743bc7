"""Help on a command describes what it does, and names every group and setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.cli.about import ABOUT
from rlhf.cli.help import help_on
from rlhf.cli.main import main
from rlhf.config.load import keys

CONF = Path(__file__).parents[3] / "conf"


def test_everything_is_named_on_lines_that_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    page = help_on("ppo", [CONF / "peft", CONF / "algorithm"])
    lines = page.splitlines()
    assert " ".join(lines[:2]).strip() == f"rlhf ppo: {ABOUT['ppo'].does}."
    assert "  peft=lora, none" in lines
    named = {line.strip().partition("=")[0] for line in lines}
    assert {key for key in keys() if not key.startswith("policy.new.")} <= named
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  ppo.kl_coef=0.05: Price of KL") for line in lines)


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", ["ppo", "doctor", "evaluate"])
def test_the_public_command_has_it(capsys, command, word):
    with pytest.raises(SystemExit) as ended:
        main([command, word])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"rlhf {command}: ")
