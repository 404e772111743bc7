"""Prints docs/metrics.md with its tables made from `rlhf/catalog/metrics/` (`make docs`).

A table stands below its mark, `<!-- made: NAME -->`; all other lines are the page's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import dropwhile
from pathlib import Path

from rlhf.catalog.declared import RENAMED, alarms_of
from rlhf.catalog.metric import Metric
from rlhf.catalog.metrics import TABLES
from rlhf.catalog.stages import STAGES

PAGE = Path(__file__).resolve().parent / "metrics.md"
MARK = re.compile(r"^<!-- made: (\w+) -->$")


def tables() -> dict[str, list[str]]:
    """Return the lines of every table by name."""
    made = {name: metrics_table(metrics) for name, metrics in TABLES.items()}
    alarms = [
        (alarm.name, f"`{metric}`", alarm.when)
        for stage in STAGES
        for metric, alarm in alarms_of(stage.name)
    ]
    earlier = [(f"`{new}`", f"`{old}`") for old, new in RENAMED.items()]
    return {
        **made,
        "alarms": table(("alarm", "metric", "raised when it is"), alarms),
        "earlier_names": table(("name", "name in earlier releases"), earlier),
    }


def metrics_table(metrics: Iterable[Metric]) -> list[str]:
    """Return a table of metrics."""
    heads = ("metric", "unit", "what it is", "normal", "when it is not", "TRL", "verl")
    rows = [
        (f"`{m.name}`", m.unit, m.meaning, m.normal, m.otherwise, m.trl, m.verl) for m in metrics
    ]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = ([cell.replace("|", "\\|") for cell in line] for line in (heads, *rows))
    lines = [re.sub(r" {2,}", " ", "| " + " | ".join(line) + " |") for line in cells]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:]]


def rewritten(page: str) -> str:
    """Return the page with every table made anew.

    Raises:
        ValueError: when a table has no mark on the page, or a mark no table.
    """
    made, lines, marks = tables(), iter(page.splitlines()), []
    out: list[str] = []
    for line in lines:
        out.append(line)
        if found := MARK.match(line):
            marks.append(found[1])
            rest = dropwhile(lambda each: each.startswith("|") or not each, lines)
            out += [
                "",
                *made.get(found[1], []),
                "",
                *([first] if (first := next(rest, "")) else []),
            ]
    if sorted(marks) != sorted(made):
        raise ValueError(f"{PAGE.name}: marks {sorted(marks)}, tables {sorted(made)}")
    return "\n".join(out).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(rewritten(PAGE.read_text(encoding="utf-8")), end="")
