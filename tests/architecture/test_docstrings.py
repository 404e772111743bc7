"""Everything a reader may call says what it is."""

from __future__ import annotations

import ast


def test_every_module_opens_with_a_sentence(modules):
    silent = [module.name for module in modules if not ast.get_docstring(module.tree)]
    assert not silent, "\n".join(silent)


def test_every_public_class_and_function_says_what_it_is(modules):
    silent = [
        f"{module.at(node)} {node.name}"
        for module in modules
        for node in public(module.tree.body)
        if not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions and classes at module level, and the public members of those classes."""
    found = []
    for node in body:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if isinstance(node, kinds) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found.extend(public(node.body))
    return found
