"""Overrides: what was typed is what the settings hold, whatever Hydra's grammar makes of it."""

from __future__ import annotations

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from rlhf.cli.overrides import for_hydra, quoted
from rlhf.errors import ConfigError
from tests.hostile.overrides import TEXTS

GROUPS = ("algorithm", "peft", "recipe")


def read(*typed: str) -> list[object]:
    """Return what Hydra makes of overrides."""
    parsed = OverridesParser.create().parse_overrides(for_hydra(typed, GROUPS))
    return [override.value() for override in parsed]


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("ppo.kl_coef=0.1", "++ppo.kl_coef=0.1"),
        ("unknown.key=1", "++unknown.key=1"),
        ("unknown.key=[1", "++unknown.key=[1"),
        ("recipe=quickstart", "recipe=quickstart"),
        ("peft=lora", "peft=lora"),
        ("peft.rank=4", "++peft.rank=4"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x"),
        ("+a=1", "+a=1"),
        ("~peft", "~peft"),
        ("-m", "-m"),
        ("run_dir=runs/a", "++run_dir=runs/a"),
        ("+run_dir=a=b", "+run_dir='a=b'"),
        ("run_dir='a=b'", "++run_dir='a=b'"),
        ("run_dir=${oc.env:HOME}/x", "++run_dir=${oc.env:HOME}/x"),
        ("data.prompts=[a.jsonl,b.jsonl]", "++data.prompts=[a.jsonl,b.jsonl]"),
        ("policy.path=null", "++policy.path=null"),
    ],
)
def test_how_each_word_is_passed_on(typed, passed):
    assert for_hydra([typed], GROUPS) == [passed]


ODD = [*TEXTS[:-1], "\u00fc/\u4e2d", "#", "a\\'", "nan"]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("key", ["run_dir", "policy.path", "reward.function", "tracking.project"])
def test_a_text_is_what_was_typed(key, text):
    assert read(f"{key}={text}") == [text]


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_whatever_is_quoted_is_read_unchanged(text):
    (override,) = OverridesParser.create().parse_overrides([f"++run_dir={quoted(text)}"])
    assert override.value() == text


def test_a_sweep_keeps_its_commas():
    assert for_hydra(["-m", "run_dir=r", "reward.function=a.py:f,b.py:f"], GROUPS)[-1] == (
        "++reward.function=a.py:f,b.py:f"
    )


def test_home_is_where_a_shell_sets_it():
    (value,) = read("run_dir=~/runs/a")
    assert value == os.path.join(os.environ["HOME"], "runs/a")  # noqa: PTH118
    (value,) = read("data.prompts=~nobody-at-all/x")
    assert value == "~nobody-at-all/x"


@pytest.mark.parametrize(
    "flag", ["--shell-completion", "-sc", "--mutlirun", "--experimental-rerun"]
)
def test_a_flag_there_is_not(flag):
    with pytest.raises(ConfigError, match=f"{flag}: there is no such flag; "):
        for_hydra([flag, "install=bash"], GROUPS)


def test_a_number_of_thousands_of_digits():
    with pytest.raises(ConfigError, match=r"^ppo.num_steps=1+\.\.\.: Exceeds the limit"):
        for_hydra([f"ppo.num_steps={'1' * 5000}"], GROUPS)


def test_what_is_shown_is_resolved():
    assert for_hydra(["--cfg", "job"], GROUPS) == ["--cfg", "job", "--resolve"]
