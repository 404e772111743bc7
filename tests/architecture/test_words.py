"""One word for one thing: no identifier of the package uses a word the glossary rules out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

# Where a ruled-out word belongs to somebody else's vocabulary.
FOREIGN = {
    "keeper": {"runtime"},  # the child process that keeps a sweep's cluster
    "settle": {"runtime", "stages"},  # a precision is settled, and the moves of a time slot
    "turn": {"data", "observe", "checks"},  # of a chat
    "turns": {"data", "checks"},
    "writer": {"data", "observe"},  # the tokenizer that wrote a text; TensorBoard's class
}
FORBIDDEN_MODULES = {"utils", "util", "helpers", "common", "misc", "manager", "base_utils"}


def test_no_identifier_uses_a_ruled_out_word(root, modules):
    banned = ruled_out(root / "docs" / "glossary.md")
    found = [
        f"{module.at(node)} {name} ({word})"
        for module in modules
        for name, node in defined_names(module.tree)
        for word in banned
        if uses(name, word) and module.room not in FOREIGN.get(word, ())
    ]
    assert not found, "\n".join(found)


def test_no_module_is_a_drawer(root):
    drawers = [
        str(path.relative_to(root))
        for path in (root / "rlhf").rglob("*")
        if path.stem in FORBIDDEN_MODULES
    ]
    assert not drawers, "\n".join(drawers)


def test_the_glossary_rules_words_out(root):
    assert {"seat", "rm", "log_probs", "n_*"} <= ruled_out(root / "docs" / "glossary.md")


@pytest.mark.parametrize(
    ("name", "word", "answer"),
    [
        ("rm_path", "rm", True),
        ("RMTrainer", "rm", True),
        ("normalize", "rm", False),
        ("old_log_probs_BR", "log_probs", True),
        ("logprobs_BR", "log_probs", False),
        ("SeatTable", "seat", True),
        ("n_rows", "n_*", True),
        ("len_n_rows", "n_*", False),
        ("num_rows", "n_*", False),
        ("__iter__", "iter", False),
    ],
)
def test_uses_compares_whole_words(name, word, answer):
    assert uses(name, word) is answer


def ruled_out(glossary: Path) -> set[str]:
    """Every `word` of the last column of the glossary's tables; a trailing * means a prefix."""
    words: set[str] = set()
    for line in glossary.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3:
            words |= set(re.findall(r"`([^`]+)`", cells[2]))
    return words


def uses(name: str, word: str) -> bool:
    """Whether the words of a name contain those of `word`, next to each other and in order."""
    if name.startswith("__"):
        return False
    have = split(name)
    if word.endswith("*"):
        return have[:1] == split(word.rstrip("*"))[:1] and len(have) > 1
    want = split(word)
    return any(have[i : i + len(want)] == want for i in range(len(have) - len(want) + 1))


def split(name: str) -> list[str]:
    """The words of snake_case and CamelCase alike, in small letters."""
    return [
        word.lower()
        for part in name.split("_")
        for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9*]+|[A-Z]+", part)
    ]


def defined_names(tree: ast.Module) -> list[tuple[str, ast.AST]]:
    """Every name the module gives to something; names it merely uses are other people's."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append((node.name, node))
        elif isinstance(node, ast.arg):
            found.append((node.arg, node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append((node.id, node))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.append((node.attr, node))
        elif isinstance(node, ast.alias) and node.asname:
            found.append((node.asname, node))
    return found
