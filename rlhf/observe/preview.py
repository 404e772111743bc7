"""Preview: rows of data in the terminal, what is learned of them in color, else between marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console as Terminal
from rich.text import Text

from rlhf.observe.console import Console, printable

OPEN, CLOSE = "\u27e6", "\u27e7"
"""Around what is learned, where there are no colors."""
LINE_END: Final = "\u21b5"
PLAIN_WIDTH: Final = 110
"""Letters of a line where there is no terminal."""
LEARNED, ANSWER, PROMPT, SPECIAL, NOTE = "green", "red", "cyan", "magenta", "dim italic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A stretch of a row that is treated alike."""

    text: str
    learned: bool = False
    special: bool = False
    """Whether it is special tokens; text that is only spelled like one is not."""
    note: bool = False
    """Whether it is a remark about the row, and no part of it."""
    num_tokens: int = 0


class PreviewConsole:
    """Shows rows, tables and lines of `rlhf data`."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        """Show on `terminal`, standard output when None."""
        self._terminal = terminal or Terminal(highlight=False)
        if terminal is None and not self._terminal.is_terminal:
            self._terminal = Terminal(highlight=False, width=PLAIN_WIDTH)
        self._console = Console(live=False, terminal=self._terminal)
        self._in_color = bool(self._terminal.color_system) and not self._terminal.no_color

    def heading(self, title: str, text: str) -> None:
        """Show a heading and what is to be known of it."""
        self._terminal.print(Text.assemble(Text(f"\n{title}", "bold cyan"), f"  {printable(text)}"))

    def note(self, message: str) -> None:
        """Show a line."""
        self._terminal.print(Text(printable(message)), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Show what may be wrong."""
        self._console.warn(message)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a small table."""
        self._console.table(title, columns, rows)

    def legend(self) -> None:
        """Say how what is learned is marked."""
        if not self._in_color:
            self.note(f"{OPEN}learned{CLOSE}, the rest is read; {LINE_END} is the end of a line")
            return
        samples = (("learned", LEARNED), ("rejected", ANSWER), ("read", PROMPT))
        line = Text()
        for word, style in samples:
            line.append(word, style).append("  ")
        line.append("special token", SPECIAL).append(f"  {LINE_END} end of a line")
        self._terminal.print(line)

    def row(self, title: str, parts: Sequence[tuple[str, Sequence[Segment]]]) -> None:
        """Show one row.

        Args:
            title: Where it is, and how long.
            parts: A label (of an answer, as a rule empty) and its segments.
        """
        self._terminal.print(Text(f"\n{printable(title)}", "bold"))
        for label, segments in parts:
            body = Text().append(f"{label}: " if label else "", "bold")
            style = ANSWER if label.startswith("rejected") else LEARNED
            for place, segment in enumerate(segments):
                before = place and segments[place - 1].learned
                after = place + 1 < len(segments) and segments[place + 1].learned
                marks = (OPEN if not before else "", CLOSE if not after else "")
                body.append_text(self._drawn(segment, style, marks))
            self._indented(body)

    def _drawn(self, segment: Segment, learned: str, marks: tuple[str, str]) -> Text:
        """Return a segment with its color, or with marks where learning begins and ends."""
        if segment.note:
            return Text(segment.text, NOTE)
        text = printable(segment.text).replace("\n", f"{LINE_END}\n")
        if self._in_color:
            style = learned if segment.learned else PROMPT
            of_special = f"bold {style}" if segment.learned else SPECIAL
            return Text(text, of_special if segment.special else style)
        plain = text.replace(OPEN, "[[").replace(CLOSE, "]]")
        return Text(plain.join(marks) if segment.learned else plain)

    def _indented(self, body: Text) -> None:
        """Show a text a little to the right; a file gets its lines as they are."""
        if self._terminal.is_terminal:
            lines = list(body.wrap(self._terminal, max(20, self._terminal.width - 2)))
        else:
            lines = body.split("\n")
        for line in lines:
            line.rstrip()
            self._terminal.print(Text("  ").append_text(line), soft_wrap=True)
