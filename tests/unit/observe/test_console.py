"""The terminal shows few plain lines, a summary, and nothing an answer could steer it with."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Terminal

from rlhf.observe.console import Console, printable
from rlhf.observe.samples import Sample


@pytest.fixture
def shown():
    """A console and the text it has shown so far."""
    out = io.StringIO()
    return Console(live=False, terminal=Terminal(file=out, width=100, highlight=False)), out


def _train(console, stage, steps, first=0):
    console.begin(stage, steps, first)
    for step in range(first, steps):
        console.record(step, {"loss/train": 2.0, "objective/scores": float(step)})
    console.end()


def test_one_line_every_five_percent(shown):
    console, out = shown
    _train(console, "ppo", 400)
    lines = [line for line in out.getvalue().splitlines() if "/400" in line]
    assert len(lines) == 20
    assert lines[-1].startswith("ppo  400/400  score 399")


def test_a_short_stage_shows_every_step(shown):
    console, out = shown
    _train(console, "sft", 3)
    assert [f"sft  {n}/3" in out.getvalue() for n in (1, 2, 3)] == [True] * 3


def test_a_resumed_stage_shows_where_it_goes_on(shown):
    console, out = shown
    _train(console, "ppo", 100, first=60)
    assert "going on at step 60" in out.getvalue()
    assert "ppo  61/100" not in out.getvalue() and "ppo  65/100" in out.getvalue()


def test_the_summary_lists_every_stage(shown):
    console, out = shown
    _train(console, "sft", 2)
    _train(console, "ppo", 5)
    console.close()
    summary = out.getvalue().partition("Summary")[2]
    assert "Supervised fine-tuning" in summary and "loss 2.00" in summary
    assert "score 0 \u2192 4.00" in summary


def test_the_summary_of_a_resumed_stage_is_over_the_whole_of_it(shown):
    console, out = shown
    earlier = [{"objective/scores": float(step), "time/step_s": 60.0} for step in range(3)]
    console.begin("ppo", 5, 3, earlier)
    for step in (3, 4):
        console.record(step, {"objective/scores": float(step)})
    console.end()
    console.close()
    summary = out.getvalue().partition("Summary")[2]
    assert "score 0 \u2192 4.00" in summary
    assert "3 min 00 s" in summary


def test_one_step_is_one_step(shown):
    console, out = shown
    _train(console, "ppo", 1)
    assert "1 step\n" in out.getvalue() and "1 step in " in out.getvalue()


def test_live_display_leaves_one_line_behind():
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, width=100, highlight=False)
    _train(Console(live=True, terminal=terminal), "sft", 3)
    assert "3 steps in" in out.getvalue()
    assert "sft  1/3" not in out.getvalue()


def test_markup_and_control_characters_are_only_text(shown):
    console, out = shown
    console.warn("[bold]x[/bold] \x1b[2J")
    assert "[bold]x[/bold] \ufffd[2J" in out.getvalue()
    assert printable("a\x1bb\x07\n\u202e") == "a\ufffdb\ufffd\n\ufffd"


def test_shares_in_the_summary_keep_their_no_break_space(shown):
    console, out = shown
    console.begin("reward_model", 1, 0)
    console.record(0, {"accuracy/validation": 0.776})
    console.end()
    console.close()
    assert "78\u00a0%" in out.getvalue().partition("Summary")[2]


def test_tables_and_comparisons_are_shown(shown):
    console, out = shown
    console.table("Batch", ("what", "rows"), [("a step", 12345)])
    old = Sample(prompt="p", response="old words", score=0.5, finished=True, length=2)
    new = Sample(prompt="p", response="new words", score=1.5, finished=True, length=2)
    console.compare([old], [new])
    text = out.getvalue()
    assert "12,345" in text and "old words" in text and "0.50 \u2192 1.50 (+1.00)" in text


def test_a_file_gets_answers_as_lines_and_no_system_message(shown):
    console, out = shown
    asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "word " * 40}]
    row = {"prompt": asked, "finished": True, "length": 2}
    console.compare(
        [Sample(response="old", score=0.1, **row)], [Sample(response="new", score=None, **row)]
    )
    lines = out.getvalue().splitlines()
    assert f"prompt: user: {('word ' * 40).strip()}" in lines
    assert lines[-2:] == ["before: old", "after:  new"]
    assert "brief" not in out.getvalue()


def test_a_terminal_gets_them_as_a_table():
    out = io.StringIO()
    terminal = Terminal(file=out, width=100, force_terminal=True, color_system=None)
    row = {"prompt": "p", "score": 1.0, "finished": True, "length": 2}
    Console(live=False, terminal=terminal).compare(
        [Sample(response="old", **row)], [Sample(response="new", **row)]
    )
    assert "prompt   before   after" in out.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (-0.0100, -0.0001, "\u22120.01 \u2192 0.00 (+0.01)"),
        (0.5, 0.5000005, "0.50 \u2192 0.50 (0.00)"),
        (0.1234, 0.1250, "0.123 \u2192 0.125 (+0.002)"),
        (1.0, -2.0, "1.00 \u2192 \u22122.00 (\u22123.00)"),
    ],
)
def test_a_gain_has_the_digits_that_it_needs(shown, old, new, said):
    console, out = shown
    row = {"prompt": "p", "response": "r", "finished": True, "length": 1}
    console.compare([Sample(score=old, **row)], [Sample(score=new, **row)])
    assert f"score:  {said}" in out.getvalue()
