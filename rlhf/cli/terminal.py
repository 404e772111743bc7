"""A terminal that cannot print every letter gets the nearest ones that it can."""

from __future__ import annotations

import codecs
import sys
from io import TextIOWrapper
from typing import Final

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
}
"""What this program writes, and what it is written as where it cannot be."""


def speak_plainly() -> None:
    """Let standard output and error replace what they cannot encode, and never fail on it."""
    codecs.register_error(HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return letters of ASCII, and where to go on; what has none is written as Python writes it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or ascii(each)[1:-1] for each in letters), error.end
