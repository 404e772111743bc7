"""Runs command lines in the copy, one after the other in one process, in a folder of tiny models.

`python -m tests.howto.home FOLDER COMMANDS` with a JSON list of [command, run's folder, *settings].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.wiring import kit


def main(folder: Path, commands: list[list[str]]) -> None:
    """Print [exit code, what was said on stderr] of each command."""
    folder.mkdir(exist_ok=True)
    kit.write_rows(folder)
    kit.write_writer(folder / "models" / "policy")
    home, ended = kit.Home(folder), list[tuple[int, str]]()
    for command, within, *settings in commands:
        ran = home.again(command, *settings, within=within)
        ended.append((ran.code, ran.err))
    print(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
