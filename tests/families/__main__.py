"""Run every causal family of transformers through every stage; write docs/models.md.

python -m tests.families [FAMILY ...]: with names, their rows are made anew and printed. Without,
all that build/families/ does not hold yet are made (two runs share the work), and the page is
written.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch
from transformers.utils import logging

from tests.families import cells, page, tiny

ROOT = Path(__file__).parents[2]
STORE = ROOT / "build" / "families"


def main(names: list[str]) -> int:
    """Make rows; return 1 if any of them is wrong or stops with anything but a refusal."""
    warnings.filterwarnings("ignore")
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    STORE.mkdir(parents=True, exist_ok=True)
    rows = {name: _made(name, anew=bool(names)) for name in names or tiny.FAMILIES}
    rows = {name: row for name, row in rows.items() if row is not None}
    if not names:
        (ROOT / "docs" / "models.md").write_text(page.written(rows), encoding="utf-8")
    bad = [name for name, row in rows.items() if page.is_bad(row)]
    print(f"{len(rows)} families, {len(bad)} with a cell that is wrong or stops: {', '.join(bad)}")
    return int(bool(bad))


def _made(name: str, *, anew: bool) -> dict[str, str] | None:
    """Return a family's row: as it is kept, or made now; None while another run makes it."""
    file = STORE / f"{name}.json"
    if not anew:
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            text = file.read_text(encoding="utf-8")
            return json.loads(text) if text else None
    row = cells.row(name)
    file.write_text(json.dumps(row, indent=1), encoding="utf-8")
    print(f"{name:26}", json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
