"""The boundary: help at once, exit codes as documented, and words for every error."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlhf import __version__
from rlhf.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]


def ended(capsys, *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_every_command(capsys, word):
    code, out, _ = ended(capsys, word)
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)


def test_no_command_is_bad_input_and_shows_how(capsys):
    code, out, _ = ended(capsys)
    assert code == 2
    assert "usage: rlhf COMMAND" in out


def test_version(capsys):
    assert ended(capsys, "--version") == (0, f"rlhf {__version__}\n", "")


def test_an_unknown_command_names_the_nearest(capsys):
    code, _, err = ended(capsys, "pipelin")
    assert (code, err.count("\n")) == (2, 1)
    assert "nearest: pipeline" in err


def test_help_needs_neither_torch_nor_hydra_and_half_a_second():
    code = (
        "import sys\nfrom rlhf.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('loaded', [m for m in ('torch', 'hydra', 'ray', 'pydantic') if m in sys.modules])"
    )
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
    assert done.stdout.endswith("loaded []\n")
    assert min(seconds) < 0.5
