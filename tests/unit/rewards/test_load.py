"""FILE.py:NAME is loaded, or one line names what to correct."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlhf.errors import ConfigError
from rlhf.rewards.load import load_function

FILE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Scale:
    by: float = 2.0

WEIGHT = 3.0
largest = max

def brevity(prompts, completions, **kwargs):
    return [-Scale().by * len(text) for text in completions]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my rewards.py"
    path.write_text(FILE)
    return path


def test_loads_by_absolute_path(file: Path) -> None:
    function = load_function(f"{file}:brevity")
    assert function(prompts=["a"], completions=["abc"]) == [-6.0]


def test_loads_relative_to_the_working_folder(file: Path) -> None:
    relative = os.path.relpath(file)
    assert load_function(f"{relative}:brevity")(prompts=[], completions=["a"]) == [-2.0]


def test_two_files_of_one_name_are_two_modules(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / file.name
    other.write_text("def brevity(completions): return [7.0]")
    first, second = load_function(f"{file}:brevity"), load_function(f"{other}:brevity")
    assert first.__module__ != second.__module__
    assert second(completions=["a"]) == [7.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brevty", "defines no brevty; nearest: brevity"),
        ("zzz", "defines no zzz; it has brevity"),
        ("WEIGHT", "WEIGHT is a float, not a function"),
        ("largest", "no signature found.*wrap it in a def"),
    ],
)
def test_a_wrong_name_is_explained(file: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_function(f"{file}:{name}")


@pytest.mark.parametrize("spec", ["reward.py", "reward:f", "reward.py:", ":f", "a.txt:f"])
def test_a_wrong_form_is_explained(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"not of the form FILE\.py:NAME"):
        load_function(spec)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"there is no file {tmp_path}/gone.py"):
        load_function(f"{tmp_path}/gone.py:f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\nimport no_such_module", r"bad\.py:2: ModuleNotFoundError: No module named 'no_such"),
        ("x = 1\ndef f(:\n", r"bad\.py:2: SyntaxError"),
        ("def g():\n    return 1 / 0\ng()", r"bad\.py:2: ZeroDivisionError"),
        ("import json\njson.loads('')", r"bad\.py:2: JSONDecodeError"),
        ("raise ValueError('two\\nlines')", r"bad\.py:1: ValueError: two lines"),
    ],
)
def test_a_file_that_does_not_import_shows_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_function(f"{tmp_path}/bad.py:f")
    assert "\n" not in str(caught.value)


def test_a_reward_file_may_import_the_file_beside_it(tmp_path):
    (tmp_path / "words_of_mine.py").write_text("GOOD = 2.0\n")
    (tmp_path / "reward.py").write_text(
        "from words_of_mine import GOOD\n\ndef score(prompts, completions):\n"
        "    return [GOOD for _ in completions]\n"
    )
    function = load_function(f"{tmp_path / 'reward.py'}:score")
    assert function(prompts=["a"], completions=["b"]) == [2.0]
