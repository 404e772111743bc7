"""`make check-fast` takes the tests of what changed, and says which it left out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fast import RULES, SETTINGS, changed, chosen, git


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


def test_the_rules_and_the_tests_of_changed_modules_come_first_then_their_rooms(root):
    names = ["rlhf/api.py", "rlhf/data/layouts/kto.py", "rlhf/algo/kl.py", "README.md"]
    assert chosen(names, root) == (
        [RULES, "tests/unit/algo/test_kl.py", "tests/unit/test_api.py"],
        ["tests/unit/data", "tests/unit/algo"],
        [],
    )


def test_changed_tests_and_settings_are_taken_or_named(root):
    names = [
        "conf/config.yaml",
        "tests/unit/checks/conftest.py",
        "tests/unit/flow/test_future.py",
        "tests/integration/test_sweep.py",
        "tests/architecture/test_sizes.py",
        "rlhf/gone/gone.py",
    ]
    own, rooms, others = chosen(names, root)
    assert own == [RULES, "tests/unit/flow/test_future.py"]
    assert set(rooms) == {*SETTINGS, "tests/unit/checks"}
    assert others == ["tests/integration/test_sweep.py"]


LATE = """
import pytest
from tests.fast import Deadline

class Late(Deadline):
    def is_over(self):
        return self.num_tests - self.num_left >= {most}

late = Late(0.0)
for again in range(2):
    if not late.is_over():
        pytest.main(["-n0", "-q", {folder!r}], plugins=[late])
print(late.num_tests, late.num_left, late.num_failed)
"""


@pytest.mark.parametrize(("most", "told"), [(3, "4 1 1"), (9, "4 0 1")])
def test_no_test_begins_too_late_or_twice_and_the_rest_is_counted(tmp_path, most, told):
    (tmp_path / "test_four.py").write_text(
        "def test_a(): pass\n\ndef test_b(): assert False\n\n"
        "def test_c(): pass\n\ndef test_d(): pass\n"
    )
    program = LATE.format(most=most, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == told, done.stdout + done.stderr


def test_a_file_that_cannot_be_collected_is_a_failure(tmp_path):
    (tmp_path / "test_broken.py").write_text("import nothing_there\n")
    program = (
        "import time, pytest; from tests.fast import Deadline\n"
        "d = Deadline(time.monotonic() + 60)\n"
        f"pytest.main(['-n0', '-q', {str(tmp_path)!r}], plugins=[d])\n"
        "print(d.num_failed)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "1", done.stdout + done.stderr
