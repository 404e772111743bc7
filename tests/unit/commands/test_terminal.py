"""Whatever a terminal can print, no output ends the program."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from rlhf.commands.terminal import PLAIN, speak_plainly
from rlhf.observe.console import Console
from rlhf.observe.samples import Sample

ROOT = Path(__file__).parents[3]
ODD = "\u2212\u2192\u2713 \u00e9 \u4e2d \U0001f600 \udcff"


@pytest.fixture
def spoken():
    """Return what is written to a standard output of some encoding."""

    def speak(encoding: str, callback) -> bytes:
        out = io.BytesIO()
        with redirect_stdout(io.TextIOWrapper(out, encoding=encoding)):
            speak_plainly()
            callback()
            sys.stdout.flush()
            return out.getvalue()

    return speak


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("ascii", b"-->ok \\xe9 \\u4e2d \\U0001f600 \\udcff"),
        ("latin-1", b"-->ok \xe9 \\u4e2d \\U0001f600 \\udcff"),
        ("utf-8", ODD[:-1].encode() + b"\\udcff"),
    ],
)
def test_what_cannot_be_written_is_written_nearly(spoken, encoding, seen):
    assert spoken(encoding, lambda: sys.stdout.write(ODD)) == seen


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "utf-8", "utf-16"])
def test_a_run_is_shown(spoken, encoding):
    def show():
        console = Console(live=False)
        console.begin("ppo", 1, 0)
        console.record(0, {"objective/scores": -1.5, "objective/kl": -0.1})
        console.warn(ODD)
        console.end()
        answer = Sample(prompt=ODD, response=ODD, score=-1.0, finished=True, length=3)
        console.compare([answer], [answer])
        console.close()

    shown = spoken(encoding, show).decode(encoding)
    assert "score" in shown
    assert "1.50" in shown


def test_the_plain_letters_are_plain():
    assert all(text.isascii() for text in PLAIN.values())


@pytest.mark.parametrize(
    "setting",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_the_program_names_a_folder_it_cannot_print(setting, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rlhf", "report", "run_dir=\u2212/\u4e2d"],
        env={**os.environ, **setting, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"rlhf: run_dir=")
    # Where the locale has no letters for the name, the name is not kept, and that is reported.
    assert b"holds no run" in done.stderr or b"a name that is no UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [(), ("-u",)])
@pytest.mark.parametrize("nobody", ["a closed pipe", "/dev/full"])
def test_a_run_goes_on_when_nobody_reads_it(flags, nobody):
    program = (
        "import sys; from rlhf.commands.terminal import speak_plainly; speak_plainly()\n"
        "for i in range(3): print('x' * 10**5, flush=True)\n"
        "sys.stderr.write('went on')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    where = writing if nobody == "a closed pipe" else os.open(nobody, os.O_WRONLY)
    with os.fdopen(where, "w") as out:
        done = subprocess.run(
            [sys.executable, *flags, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            stdout=out,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, done.stderr) == (0, b"went on")
