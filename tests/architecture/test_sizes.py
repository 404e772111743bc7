"""How long things may get: a file, a class, a function, and the PPO step itself.

What has less than a fifth of its room left is told in pytest's summary of warnings: it is better
cut in two before it has to be.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping

import pytest

FILE_LINES = 300
CLASS_LINES = 150
FUNCTION_LINES = 40
PUBLIC_METHODS = 8
STEP_LINES = 15
STEP_CALLS = 10
NEAR = 0.8
"""Share of a cap from which on it is told."""
SHOWN = 12
"""Things that a warning names, the largest first."""


class NearCapWarning(UserWarning):
    """Something is close to the size at which the tests stop."""


def judge(what: str, sizes: Mapping[str, int], cap: int) -> None:
    """Fail for what is above its cap; warn of what is within a fifth of it."""
    over = [f"{name} {size}" for name, size in sizes.items() if size > cap]
    assert not over, "\n".join(over)
    near = sorted((size, name) for name, size in sizes.items() if size >= NEAR * cap)[::-1]
    if near:
        named = ", ".join(f"{name} {size}" for size, name in near[:SHOWN])
        more = f", and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
        warnings.warn(NearCapWarning(f"{what}, cap {cap}: {named}{more}"), stacklevel=2)


def test_files_are_short(modules):
    sizes = {
        module.at(module.tree).partition(":")[0]: module.text.count("\n") for module in modules
    }
    judge("lines of a file", sizes, FILE_LINES)


def test_classes_are_short(modules):
    sizes = {f"{m.at(node)} {node.name}": length(node) for m in modules for node in m.classes()}
    judge("lines of a class", sizes, CLASS_LINES)


def test_classes_promise_little(modules):
    sizes = {
        f"{module.at(node)} {node.name}": len(public_methods(node))
        for module in modules
        for node in module.classes()
    }
    judge("public methods of a class", sizes, PUBLIC_METHODS)


def test_functions_are_short(modules):
    sizes = {f"{m.at(node)} {node.name}": length(node) for m in modules for node in m.functions()}
    judge("lines of a function", sizes, FUNCTION_LINES)


def test_what_is_near_its_cap_is_told_and_what_is_over_it_fails():
    with pytest.warns(NearCapWarning, match=r"^lines, cap 10: c 10, b 8$"):
        judge("lines", {"a": 7, "b": 8, "c": 10}, 10)
    with pytest.raises(AssertionError, match="^d 11"):
        judge("lines", {"c": 10, "d": 11}, 10)
    with warnings.catch_warnings(action="error"):
        judge("lines", {"a": 7}, 10)


def test_the_ppo_step_reads_at_a_glance(modules):
    step = next(
        method
        for module in modules
        if module.name == "rlhf.stages.ppo"
        for node in module.classes()
        if node.name == "PPO"
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "step"
    )
    body = step.body[1:] if ast.get_docstring(step) else step.body
    calls = [node for node in ast.walk(step) if isinstance(node, ast.Call)]
    judge("lines of the PPO step", {"step": body[-1].end_lineno - body[0].lineno + 1}, STEP_LINES)
    judge("calls of the PPO step", {"step": len(calls)}, STEP_CALLS)
    assert not [node for node in ast.walk(step) if isinstance(node, ast.If | ast.IfExp)]


def public_methods(node: ast.ClassDef) -> list[str]:
    return [
        method.name
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        and not method.name.startswith("_")
    ]


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1
