"""docs/correctness.md and the tests' `# correctness N` comments say the same, row by row."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

NUM_ROWS = 66
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/.]+\.py::\w+)`")
COMMENT = re.compile(r"# correctness (\d+(?:, \d+)*)\b")
EXEMPT = "Does not apply: "


@pytest.fixture(scope="module")
def page(root) -> str:
    """The text of the page."""
    return (root / "docs" / "correctness.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def claimed(root) -> dict[int, set[str]]:
    """Row -> the tests whose comment names it."""
    found: dict[int, set[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, rows in comments(path.read_text(encoding="utf-8")):
            for row in rows:
                found.setdefault(row, set()).add(f"{path.relative_to(root)}::{name}")
    return found


def test_every_row_is_there_once(page):
    rows = [int(row) for row, _, _, _ in ROW.findall(page)]
    assert rows == list(range(1, NUM_ROWS + 1))


def test_every_row_that_applies_is_proven(page):
    bare = [row for row, _, choice, _ in ROW.findall(page) if not choice.startswith(EXEMPT)]
    bare = [row for row in bare if not names_on(page)[int(row)]]
    assert not bare, f"rows without a test: {', '.join(bare)}"
    proven = [row for row, _, choice, _ in ROW.findall(page) if choice.startswith(EXEMPT)]
    proven = [row for row in proven if names_on(page)[int(row)]]
    assert not proven, f"rows that do not apply, yet have tests: {', '.join(proven)}"


def test_every_test_named_exists(page, root):
    named = {name for names in names_on(page).values() for name in names}
    missing = [name for name in sorted(named) if not exists(root, name)]
    assert len(named) > NUM_ROWS
    assert not missing, "\n".join(missing)


def test_page_and_comments_agree(page, claimed):
    wrong = list(differences(names_on(page), claimed))
    assert not wrong, "\n".join(wrong)


def test_every_comment_stands_in_a_test(root):
    stray = [
        str(path.relative_to(root))
        for path in sorted((root / "tests").rglob("*.py"))
        if any(name is None for name, _ in comments(path.read_text(encoding="utf-8")))
    ]
    assert not stray, "\n".join(stray)


SOURCE = """
# correctness 9
def test_one():
    # correctness 1, 22: words
    text = "# correctness 7"

def helper():
    pass  # correctness 3
"""


def test_comments_are_read_with_the_test_around_them():
    assert list(comments(SOURCE)) == [(None, [9]), ("test_one", [1, 22]), (None, [3])]


@pytest.mark.parametrize(
    ("page_row", "answer"),
    [
        ("| 3 | about | choice | `tests/a.py::test_a`<br>`tests/b.py::test_b` |", []),
        ("| 3 | about | choice | `tests/a.py::test_a` |", ["row 3: the page lacks"]),
        ("| 3 | about | choice | |", ["row 3: the page lacks", "row 3: the page lacks"]),
        (
            "| 3 | about | choice | `tests/a.py::test_a`<br>`tests/b.py::test_b` |\n"
            "| 4 | about | choice | `tests/a.py::test_a` |",
            ["row 4: no comment in"],
        ),
    ],
)
def test_differences_are_seen(page_row, answer):
    claims = {3: {"tests/a.py::test_a", "tests/b.py::test_b"}}
    found = differences(names_on(page_row), claims)
    assert [line.rpartition(" ")[0] for line in found] == answer


def names_on(page: str) -> dict[int, set[str]]:
    """Row -> the tests its last cell names."""
    return {int(row): set(NAMED.findall(cell)) for row, _, _, cell in ROW.findall(page)}


def differences(named: dict[int, set[str]], claimed: dict[int, set[str]]) -> Iterator[str]:
    """Every test that the page and the comments do not both give to a row."""
    for row in sorted(set(named) | set(claimed)):
        on_page, in_tests = named.get(row, set()), claimed.get(row, set())
        yield from (f"row {row}: the page lacks `{name}`" for name in sorted(in_tests - on_page))
        yield from (f"row {row}: no comment in `{name}`" for name in sorted(on_page - in_tests))


def comments(source: str) -> Iterator[tuple[str | None, list[int]]]:
    """Every `# correctness` comment: the test function around it, if any, and its rows."""
    if "# correctness" not in source:
        return
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    tests = [node for node in nodes if node.name.startswith("test_")]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        found = COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if found:
            line = token.start[0]
            around = [t.name for t in tests if t.lineno <= line <= (t.end_lineno or t.lineno)]
            yield (around[0] if around else None), [int(row) for row in found[1].split(", ")]


def exists(root: Path, name: str) -> bool:
    """Whether a test FILE::FUNCTION is there."""
    file, _, function = name.partition("::")
    path = root / file
    return path.is_file() and f"\ndef {function}(" in path.read_text(encoding="utf-8")
