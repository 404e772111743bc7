"""`make check-fast` takes the tests of what changed, and says which it left out."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.fast import RULES, SETTINGS, Deadline, changed, chosen, git


@pytest.fixture
def checkout(tmp_path):
    """A repository with a branch, of which some things are committed and some are not."""
    for words in (("init", "-q", "-b", "main"), ("config", "user.email", "a@b.example"),
                  ("config", "user.name", "a")):  # fmt: skip
        git(tmp_path, *words)

    def write(*names, text=""):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    write("rlhf/algo/kl.py", "rlhf/algo/gae.py", "rlhf/data/rows.py", ".gitignore")
    write(".gitignore", text="runs/\n")
    commit(tmp_path)
    git(tmp_path, "checkout", "-q", "-b", "mine")
    write("rlhf/algo/kl.py", text="1")
    commit(tmp_path)
    write("rlhf/data/rows.py", text="2")
    write("tests/unit/algo/test_new.py", "runs/a/metrics.jsonl")
    return tmp_path


def commit(root):
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a")


def test_what_differs_from_main_counts_committed_or_not(checkout):
    wanted = {"rlhf/algo/kl.py", "rlhf/data/rows.py", "tests/unit/algo/test_new.py"}
    assert set(changed(checkout)) == wanted
    git(checkout, "checkout", "-q", "main", "--force")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "main goes on")
    (checkout / "rlhf/algo/gae.py").write_text("of main")
    commit(checkout)
    git(checkout, "checkout", "-q", "mine")
    assert "rlhf/algo/gae.py" not in set(changed(checkout)), "what main did since is not ours"


def test_the_tests_of_changed_modules_come_first_then_the_rules_then_their_rooms(root):
    names = ["rlhf/algo/kl.py", "rlhf/data/layouts/kto.py", "rlhf/api.py", "README.md"]
    tests, others = chosen(names, root)
    assert tests == [
        "tests/unit/algo/test_kl.py",
        "tests/unit/test_api.py",
        RULES,
        "tests/unit/algo",
        "tests/unit/data",
    ]
    assert others == []


def test_changed_tests_and_settings_are_taken_or_named(root):
    names = [
        "conf/config.yaml",
        "tests/unit/checks/conftest.py",
        "tests/unit/flow/test_future.py",
        "tests/integration/test_sweep.py",
        "tests/architecture/test_sizes.py",
        "rlhf/gone/gone.py",
    ]
    tests, others = chosen(names, root)
    assert tests == ["tests/unit/flow/test_future.py", RULES, *SETTINGS, "tests/unit/checks"]
    assert others == ["tests/integration/test_sweep.py"]


def test_no_test_begins_after_the_deadline_and_the_rest_is_counted(tmp_path):
    (tmp_path / "test_four.py").write_text(
        "import time\n\ndef test_a(): pass\n\ndef test_b(): assert False\n\n"
        "def test_c(): time.sleep(2)\n\ndef test_d(): pass\n"
    )
    program = (
        "import sys, time, pytest; from tests.fast import Deadline;"
        f"d = Deadline(time.monotonic() + 1.5); pytest.main(['-n0', '-q', {str(tmp_path)!r}],"
        "plugins=[d]); print(d.num_tests, d.num_left, d.num_failed)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "4 1 1", done.stdout + done.stderr
    assert Deadline(time.monotonic()).num_left == 0
