"""Secrets and foreign words: what may stand in a file, a log or a terminal, and what may not.

A secret is the value of a variable whose name says so (HF_TOKEN, AWS_SECRET_ACCESS_KEY), and a
password in an URL. Settings, job variables, logs and reports are read by others than their owner.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

SHORTEST: Final = 8
"""Letters of a value that is looked for; shorter ones stand in other words by chance."""
LONGEST_LINE, MOST_LINES = 2000, 200
"""What is shown of a foreign text."""
HIDDEN: Final = "***"
_NAMES = re.compile(
    r"((API|ACCESS|SECRET|PRIVATE)_?KEY|CREDENTIAL|PASSWD|PASSWORD|PASSPHRASE|SECRET|TOKEN|SSHPASS"
    r"|(^|_)(AUTH|KEY|PASS)|_PAT|_PWD)S?\d*(_|$)",
    re.I,
)
_NO_VALUES = re.compile(r"_(PATH|FILE|DIR|MODE|SOCK)$", re.I)
_IN_URL = re.compile(r"(?<=://)[^\s/@:]*:[^\s/]+(?=@)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def is_secret(name: str) -> bool:
    """Return whether a variable's name says that its value is a secret, and not where one is."""
    return bool(_NAMES.search(name)) and not _NO_VALUES.search(name)


def exposed(text: str, own: Mapping[str, str] = os.environ) -> str | None:
    """Return in words which secret a text holds, without the secret; None when it holds none."""
    for name, value in _values(own):
        if value in text:
            return f"the value of the variable {name}"
    return "a password in an URL" if _IN_URL.search(text) else None


def hidden(text: str, own: Mapping[str, str] = os.environ) -> str:
    """Return a text with every secret replaced by ***."""
    for _, value in _values(own):
        text = text.replace(value, HIDDEN)
    return _IN_URL.sub(HIDDEN, text)


def cleaned(text: str) -> str:
    """Return a foreign text as it may be shown: no secret, no control characters, not endless.

    Control characters (a terminal's escapes, letters that turn the reading direction) become
    Python's escapes; what is cut is told.
    """
    lines = hidden(text).split("\n")
    shown = [_line(line) for line in lines[: MOST_LINES // 2]]
    rest = lines[MOST_LINES // 2 :]
    if len(rest) > MOST_LINES // 2:
        shown.append(f"... ({len(rest) - MOST_LINES // 2:,} lines left out) ...")
    return "\n".join([*shown, *(_line(line) for line in rest[-(MOST_LINES // 2) :])])


def _line(line: str) -> str:
    if len(line) > LONGEST_LINE:
        left = len(line) - LONGEST_LINE
        half = LONGEST_LINE // 2
        line = f"{line[:half]} ... ({left:,} letters left out) ... {line[-half:]}"
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], line)


def _values(own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of secret variables and of passwords in URLs, longest first."""
    found: list[tuple[str, str]] = []
    for name, value in own.items():
        if is_secret(name) and not os.path.exists(value):  # noqa: PTH110 - any text at all
            lines = [part.strip() for part in (value, *value.splitlines())]
            # As it is, line by line, and as Python and an URL write it.
            found.extend(
                (name, way) for each in lines for way in (each, repr(each)[1:-1], quote(each))
            )
        found.extend((name, part.partition(":")[2]) for part in _IN_URL.findall(value))
    found.sort(key=lambda each: -len(each[1]))
    yield from (each for each in found if len(each[1]) >= SHORTEST)
