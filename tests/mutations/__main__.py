"""python -m tests.mutations [--only WORD] [-j N]: break the code in every known way, in turn."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.mutations.mutation import MutationError
from tests.mutations.runner import LIMIT_S, Outcome, run
from tests.mutations.table import MUTATIONS

STYLES = {"caught": "green", "survived": "bold red", "broken": "bold yellow"}


def main() -> int:
    """Print the table; return 0 when the suite caught everything."""
    asked = arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    chosen = [m for m in MUTATIONS if any(w in m.name or w in m.file for w in asked.only or [""])]
    if not chosen:
        console.print(f"no mutation has {asked.only} in its name or its file")
        return 2
    count = 0

    def tell(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        answer = outcome.answer
        console.print(
            f"[{count}/{len(chosen)}] {outcome.mutation.name}: {answer.verdict} {answer.told}",
            markup=False,
            soft_wrap=True,
        )

    console.print(f"{len(chosen)} mutations; first the code as it is")
    try:
        outcomes = run(chosen, tell, num_workers=asked.j, limit=asked.limit)
    except MutationError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    console.print(as_table(outcomes))
    caught = sum(outcome.answer.verdict == "caught" for outcome in outcomes)
    console.print(f"{caught} of {len(outcomes)} caught")
    return 0 if caught == len(outcomes) else 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="WORD", help="those with it in name or file"
    )
    parser.add_argument("-j", type=int, default=1, choices=(1, 2), help="how many at one time")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one selection")
    return parser.parse_args()


def as_table(outcomes: list[Outcome]) -> Table:
    """Return the outcomes as a table."""
    table = Table("mutation", "the bug", "file", "caught by", "s")
    for outcome in outcomes:
        mutation, answer = outcome.mutation, outcome.answer
        told = answer.told if answer.verdict == "caught" else f"{answer.verdict} {answer.told}"
        table.add_row(
            mutation.name,
            mutation.why,
            mutation.file.removeprefix("rlhf/"),
            escape(told.removeprefix("tests/")),
            f"{outcome.seconds:.0f}",
            style=STYLES[answer.verdict] if answer.verdict != "caught" else "",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
