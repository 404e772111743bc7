"""Rows are shown with what is learned in color or between marks; none steers the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Terminal

from rlhf.observe.preview import CLOSE, OPEN, PreviewConsole, Segment

ROW = [
    Segment(text="<s>", special=True),
    Segment(text="Hi\nthere"),
    Segment(text=" good", learned=True),
    Segment(text="</s>", learned=True, special=True),
]


def shown(segments, label="", **terminal):
    out = io.StringIO()
    options = {"width": 60, "highlight": False, "color_system": None, **terminal}
    PreviewConsole(Terminal(file=out, **options)).row("a.jsonl:1", [(label, segments)])
    return out.getvalue()


def test_without_colors_marks_stand_around_all_that_is_learned():
    assert shown(ROW) == "\na.jsonl:1\n  <s>Hi\u21b5\n  there\u27e6 good</s>\u27e7\n"


def test_marks_that_a_row_holds_itself_are_written_otherwise():
    text = shown([Segment(text=f"a{OPEN}b{CLOSE}c"), Segment(text=f"{OPEN}", learned=True)])
    assert text.endswith(f"  a[[b]]c{OPEN}[[{CLOSE}\n")


def test_with_colors_there_are_none_and_no_color_is_obeyed(monkeypatch):
    color = {"force_terminal": True, "color_system": "standard"}
    text = shown(ROW, **color)
    assert OPEN not in text
    assert "\x1b[32m good\x1b[0m\x1b[1;32m</s>" in text
    assert "\x1b[35m<s>\x1b[0m\x1b[36mHi" in text
    assert "\x1b[31m good" in shown(ROW, "rejected", **color)
    assert OPEN in shown(ROW, no_color=True, **color)


@pytest.mark.parametrize("evil", ["\x1b[31mred\x07", "a\rb", "\u202eabc", "[bold]x[/bold]"])
def test_nothing_in_a_row_steers_the_terminal(evil):
    text = shown([Segment(text=evil)])
    assert not set(text) & set("\x1b\x07\r\u202e")
    assert "[bold]" in text or "bold" not in evil


def test_a_file_gets_long_lines_whole_and_a_terminal_wrapped_ones():
    long = [Segment(text="word " * 40)]
    assert max(map(len, shown(long).splitlines())) > 150
    lines = shown(long, force_terminal=True).splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line.startswith("  ") for line in lines[2:])
