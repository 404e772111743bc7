"""Twelve canaries: whatever a run on Ray is told in secret stands in no byte that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import ENGINE, NEW, SMALL, SOURCES, write_data

ROOT = Path(__file__).resolve().parents[2]
CANARIES = {
    name: f"canary{number:02d}x7Qz{number * 7919:06d}"
    for number, name in enumerate(
        (
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "WANDB_API_KEY",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "OPENAI_API_KEY",
            "JUDGE_PASSWORD",
            "MY_CREDENTIALS",
            "HTTPS_PROXY",
            "in an override",
            "in a model's URL",
        )
    )
}
REWARD = """
import os

def short(completions, **columns):
    print("scoring with", len(os.environ["OPENAI_API_KEY"]), "letters")
    return [-float(len(text)) for text in completions]

def fails(completions, **columns):
    names = ("HF_TOKEN", "OPENAI_API_KEY", "JUDGE_PASSWORD", "HTTPS_PROXY")
    raise ValueError("no answer from a judge with " + " ".join(os.environ[n] for n in names))
"""
ON_RAY = ("cluster.timeout_s=120",)


def environment(temporary):
    own = {name: value for name, value in CANARIES.items() if " " not in name}
    own["HTTPS_PROXY"] = f"http://me:{own['HTTPS_PROXY']}@127.0.0.1:9"
    return {
        **os.environ,
        **own,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "RAY_TMPDIR": str(temporary),
    }


def command(*asked):
    return [
        sys.executable,
        "-m",
        "rlhf",
        "pipeline",
        *NEW,
        *SMALL,
        *SOURCES,
        "ppo.num_steps=1",
        *asked,
    ]


def run(home, temporary, *asked):
    """Run a command to its end; return its exit code and the command lines seen beneath it."""
    seen = set()
    with (home / "out").open("ab") as out:
        process = subprocess.Popen(
            command(*asked), cwd=home, env=environment(temporary), stdout=out, stderr=out
        )
        while process.poll() is None:
            try:
                children = psutil.Process(process.pid).children(recursive=True)
                seen |= {" ".join(child.cmdline()) for child in children}
            except psutil.Error:
                pass
            time.sleep(0.2)
    return process.returncode, seen


def leaks(*folders):
    """Return (canary, file) of every file below the folders that holds one."""
    found = []
    files = [path for folder in folders for path in folder.rglob("*")]
    for path in files:
        if path.is_file() and not path.is_symlink() and path.name != "reward.py":
            content = path.read_bytes()
            found += [(n, str(path)) for n, value in CANARIES.items() if value.encode() in content]
    return found


@pytest.fixture
def home(tmp_path):
    write_data(tmp_path)
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    return tmp_path


@pytest.fixture
def temporary():
    """A folder for Ray's sessions; their sockets allow no long path."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="c") as folder:
        yield Path(folder)


@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("function", "code"), [("short", 0), ("fails", 2)])
def test_no_secret_stands_in_what_a_run_on_ray_writes(home, temporary, function, code):
    asked = (f"reward.function=reward.py:{function}", "tracking.wandb=offline", *ON_RAY)
    ended, lines = run(home, temporary, *asked, "run_dir=run")
    said = (home / "out").read_text()
    assert ended == code, said
    assert any("PolicyWorker" in line for line in lines)
    assert list(temporary.rglob("raylet.out"))
    assert leaks(home, temporary) == []
    written = [path for path in (home / "run").rglob("*") if not path.is_symlink()]
    assert any(path.suffix == ".wandb" for path in written)
    assert [path for path in written if path.stat().st_mode & 0o077] == []
    assert [line for line in lines if any(value in line for value in CANARIES.values())] == []
    assert function == "short" or "no answer from a judge with *** *** ***" in said


def test_no_secret_stands_in_what_a_run_in_this_machine_s_one_process_writes(home, temporary):
    asked = ("reward.function=reward.py:fails", *ENGINE, "run_dir=run")
    ended, _ = run(home, temporary, *asked)
    said = (home / "out").read_text()
    assert ended == 2, said
    assert "no answer from a judge with *** *** ***" in said
    assert leaks(home, temporary) == []


@pytest.mark.parametrize(
    "asked",
    [
        "tracking.project=${oc.env:WANDB_API_KEY}",
        "tracking.project=" + CANARIES["HF_TOKEN"],
        f"data.prompts=https://me:{CANARIES['in a model' + chr(39) + 's URL']}@host/rows.jsonl",
        "policy.path=${oc.env:HTTPS_PROXY}",
        f"reward.function=http://:{CANARIES['in an override']}@judge/score",
        "data.columns={${oc.env:JUDGE_PASSWORD}: prompt}",
        "seed=${oc.env:AWS_SECRET_ACCESS_KEY}",
    ],
)
def test_a_secret_in_a_setting_is_refused_in_one_line_without_it(home, temporary, asked):
    ended, _ = run(home, temporary, *ENGINE, asked, "run_dir=run")
    said = (home / "out").read_text()
    assert ended == 2, said
    assert "Traceback" not in said
    assert leaks(home, temporary) == []
    assert not (home / "run").exists()
