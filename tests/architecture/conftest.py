"""What every rule below is checked against: the package's own files, parsed once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One file of rlhf/ and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Dotted name: rlhf.algo.kl, or rlhf.algo for its __init__."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """The folder right under rlhf/, or an empty string for the files beside it."""
        parts = self.path.relative_to(ROOT / "rlhf").parts
        return parts[0] if len(parts) > 1 else ""

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as FILE:LINE."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, nested ones too."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    def classes(self) -> list[ast.ClassDef]:
        """Every class, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every Python file of the package."""
    found = []
    for path in sorted((ROOT / "rlhf").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path, text, ast.parse(text, filename=str(path))))
    assert len(found) > 10
    return found
