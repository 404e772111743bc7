"""`make hostile`: all hostile functions and command lines, one after another."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.functions import cases
from tests.hostile.home import make_home, try_function, try_line
from tests.hostile.overrides import lines


def faults(home: Path, asked: str) -> Iterator[tuple[str, str | None]]:
    """Yield each case whose name holds a word, and what is wrong with how it ended."""
    for case in cases():
        if asked in f"function {case.name}":
            yield f"function {case.name}", try_function(home, case)
    for line in lines():
        name = f"line {' '.join(line.typed)[:80]}"
        if asked in name:
            yield name, try_line(home, line)


def main() -> None:
    """Try everything whose name holds the first argument, such as `line`."""
    start, tried, bad = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        home = make_home(Path(scratch))
        for name, fault in faults(home, " ".join(sys.argv[1:])):
            tried, bad = tried + 1, bad + (fault is not None)
            if fault is not None:
                print(ascii(name), fault, flush=True)
    print(f"{bad} of {tried} ended badly, in {time.monotonic() - start:.0f} s")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
