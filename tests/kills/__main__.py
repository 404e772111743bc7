"""`make soak`: a run killed at one file event after another, each time finished and compared."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.kills.kills import differences, result, run


def main() -> None:
    """Kill as many runs as the first argument says, 200 if it says nothing."""
    start, bad = time.monotonic(), 0
    num_kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        quiet = run(home / "quiet")
        expected = result(home / "quiet/run")
        chosen = sorted({1 + at * quiet.events // num_kills for at in range(num_kills)})
        for number in chosen:
            killed, again = run(home / f"{number}", number), run(home / f"{number}")
            changed = differences(expected, result(home / f"{number}/run"))
            if again.code or changed:
                bad += 1
                print(f"{number} ({killed.last}): exit {again.code}, {changed}", flush=True)
    seconds = time.monotonic() - start
    print(f"{bad} of {len(chosen)} kills changed something, in {seconds:.0f} s")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
