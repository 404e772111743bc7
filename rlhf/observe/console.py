"""Console: what a person sees of a run in the terminal, live or as plain lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final
from unicodedata import category

from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlhf.catalog.stages import title_of
from rlhf.observe.figures import headline
from rlhf.observe.numbers import counted, duration, signed
from rlhf.observe.progress import Progress
from rlhf.observe.samples import Sample, prompt_text

PLAIN_LINES: Final = 20
"""Lines a stage when the output is not a terminal: one every 5 %."""


class Console:
    """Shows stages, figures, warnings and tables; one stage at a time."""

    def __init__(self, *, live: bool = True, terminal: Terminal | None = None) -> None:
        """Show on `terminal` (standard output when None), live if it is one and `live` is set."""
        self._terminal = terminal or Terminal(highlight=False)
        self._is_live = live and self._terminal.is_terminal
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._printed = -1
        self._finished: list[tuple[str, str, str, str]] = []

    def begin(
        self,
        stage: str,
        total_steps: int,
        first_step: int,
        earlier: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """Show the stage's heading and start its display.

        Args:
            stage: sft, reward_model or ppo.
            total_steps: Steps of the whole stage.
            first_step: The step from which it goes on.
            earlier: The figures of the steps before; the summary is over the whole stage.
        """
        resumed = f", going on at step {first_step}" if first_step else ""
        self._print(
            Text(f"\n{title_of(stage)}", "bold cyan"),
            f"  {counted(total_steps, 'step')}{resumed}",
        )
        self._progress = Progress(stage, total_steps, first_step, earlier)
        self._printed = first_step * PLAIN_LINES // max(1, total_steps)
        if self._is_live:
            self._live = Live(self._progress, console=self._terminal, transient=True)
            self._live.start()

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Show the figures of one step."""
        progress = self._progress
        if progress is None:
            return
        progress.record(step, values, time.monotonic())
        twentieth = progress.done * PLAIN_LINES // max(1, progress.total)
        if not self._is_live and twentieth > self._printed:
            self._printed = twentieth
            self._print(progress.line())

    def end(self) -> None:
        """Replace the stage's display by one line that stays."""
        self._stop_live()
        if (progress := self._progress) is None:
            return
        self._progress = None
        row = (
            title_of(progress.stage),
            str(progress.done),
            duration(progress.elapsed(time.monotonic())),
            headline(progress.stage, progress.first, progress.last),
        )
        self._finished.append(row)
        self._print(
            Text("\u2713 ", "green"), f"{counted(progress.done, 'step')} in {row[2]}  {row[3]}"
        )

    def close(self) -> None:
        """Stop the display and show the summary of all finished stages."""
        self._stop_live()
        if self._finished:
            self.table("Summary", ("stage", "steps", "time", "result"), self._finished)
            self._finished = []

    def warn(self, message: str) -> None:
        """Show a warning."""
        self._print(Text("! ", "bold yellow"), Text(printable(message), "yellow"))

    def note(self, message: str) -> None:
        """Show a line."""
        self._print(printable(message))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a small table, such as the batch arithmetic; numbers stand right-aligned."""
        table = _frame(title)
        for at, column in enumerate(columns):
            is_number = all(isinstance(row[at], int | float) for row in rows)
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        self._terminal.print(table)

    def compare(self, before: Sequence[Sample], after: Sequence[Sample]) -> None:
        """Show answers to the same prompts before and after training, with their scores."""
        table = _frame("Before and after")
        for column in ("prompt", "before", "after", "score"):
            table.add_column(
                column, justify="right" if column == "score" else "left", overflow="fold"
            )
        for old, new in zip(before, after, strict=False):
            cells = (prompt_text(new.prompt), old.response, new.response)
            table.add_row(*(Text(_excerpt(text)) for text in cells), Text(_gain(old, new)))
        self._terminal.print(table)

    def _print(self, *parts: str | Text) -> None:
        self._terminal.print(Text.assemble(*parts), soft_wrap=True)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def printable(text: str) -> str:
    """Return text without control characters: an answer must not control the reader's terminal.

    Spaces of every kind stay, such as the no-break one before a percent sign.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else "\ufffd" for c in text
    )


def _frame(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else printable(str(value))


def _excerpt(text: str, limit: int = 240) -> str:
    clean = " ".join(printable(text).split())
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}\u2026"


def _gain(old: Sample, new: Sample) -> str:
    if old.score is None or new.score is None:
        return ""
    return f"{old.score:.2f} \u2192 {new.score:.2f} ({signed(new.score - old.score, 2)})"
