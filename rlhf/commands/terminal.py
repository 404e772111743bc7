"""A terminal that cannot print every letter gets the nearest ones that it can.

One that takes nothing any more (a closed pipe, a full disk) gets nothing, and the run goes on.
"""

from __future__ import annotations

import codecs
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

HANDLER: Final = "rlhf.plain"
PLAIN: Final = {
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2500": "-",
    "\u2192": "->",
    "\u2026": "...",
    "\u2713": "ok",
    "\u00a0": " ",
    "\u202f": " ",
    "\u00d7": "x",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\ufffd": "?",
    "\u27e6": "[[",
    "\u27e7": "]]",
    "\u21b5": "\\n",
}
"""Letters this program prints, and their replacements where they cannot be encoded."""


class Lasting(FileIO):
    """A file that never fails: output that can no longer be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int | None:
        """Write as any file does, until the reader is gone."""
        try:
            return super().write(data)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def speak_plainly() -> None:
    """Let standard output and error replace what they cannot encode, and never fail."""
    codecs.register_error(HANDLER, _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
            setattr(sys, name, _lasting(stream))


def _lasting(stream: TextIOWrapper) -> TextIOWrapper:
    """Return a stream that never fails; one that is not stdout or stderr is returned as is."""
    raw = getattr(stream.buffer, "raw", stream.buffer)  # Python's -u leaves the buffer out.
    if not isinstance(raw, FileIO) or isinstance(raw, Lasting) or raw.fileno() not in (1, 2):
        return stream
    stream.flush()
    lasting = Lasting(raw.fileno(), "w", closefd=False)
    return TextIOWrapper(
        lasting if raw is stream.buffer else BufferedWriter(lasting),
        encoding=stream.encoding,
        errors=HANDLER,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return the nearest letters of ASCII, else Python's escapes; and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or ascii(each)[1:-1] for each in letters), error.end
