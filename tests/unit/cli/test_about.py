"""Every command says in words what it does, reads and writes, with an example that is legal."""

from __future__ import annotations

import shlex

import pytest

from rlhf.cli.about import ABOUT, CURVE, about
from rlhf.cli.main import main
from rlhf.config.load import keys

PAGES = {**ABOUT, "data curve": CURVE}
SETTINGS = {*keys(), "recipe", "export.dtype"}


def page_of(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [name for name in PAGES if name != "submit"])
def test_its_help_begins_with_what_it_does_reads_and_writes(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "76")
    page = page_of(command, capsys)
    head = page[: page.index("\nusage: ")]
    first = head[: head.index("\n\nreads:  ")]
    assert first.replace("\n", " ") == f"rlhf {command}: {PAGES[command].does}."
    assert "\nwrites:  " in head
    assert all(len(line) <= 76 for line in head.splitlines())
    assert f"usage: rlhf {command} " in page


def test_an_example_may_be_pasted_though_it_takes_two_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    page = page_of("data curve", capsys)
    head = page[page.index("example:") + len("example:") : page.index("\n\nAll are")]
    assert " \\\n" in head
    assert shlex.split(head.replace("\\\n", " ")) == CURVE.examples[0].split()


@pytest.mark.parametrize("command", PAGES)
def test_examples_are_that_command_with_settings_that_exist(command):
    for example in PAGES[command].examples:
        program, first, *words = example.split()
        assert (program, first) == ("rlhf", command.split()[0])
        names = [word.partition("=")[0] for word in words if "=" in word]
        assert set(names) <= SETTINGS


def test_help_on_one_stage_of_the_doctor_is_the_doctors(capsys):
    assert about("doctor ppo") is ABOUT["doctor"]
    assert "usage: rlhf doctor ppo [GROUP=NAME]" in page_of("doctor ppo", capsys)
