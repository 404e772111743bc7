"""How long things may get: a file, a class, a function, and the PPO step itself."""

from __future__ import annotations

import ast

FILE_LINES = 300
CLASS_LINES = 150
FUNCTION_LINES = 40
PUBLIC_METHODS = 8
STEP_LINES = 15
STEP_CALLS = 10


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def test_files_are_short(modules):
    long = [
        f"{module.path.name} {module.text.count(chr(10))}"
        for module in modules
        if module.text.count("\n") > FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_classes_are_short(modules):
    long = [
        f"{module.at(node)} {node.name} {length(node)}"
        for module in modules
        for node in module.classes()
        if length(node) > CLASS_LINES
    ]
    assert not long, "\n".join(long)


def test_classes_promise_little(modules):
    wide = [
        f"{module.at(node)} {node.name} {len(public_methods(node))}"
        for module in modules
        for node in module.classes()
        if len(public_methods(node)) > PUBLIC_METHODS
    ]
    assert not wide, "\n".join(wide)


def test_functions_are_short(modules):
    long = [
        f"{module.at(node)} {node.name} {length(node)}"
        for module in modules
        for node in module.functions()
        if length(node) > FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


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
    assert body[-1].end_lineno - body[0].lineno + 1 <= STEP_LINES
    assert len(calls) <= STEP_CALLS
    assert not [node for node in ast.walk(step) if isinstance(node, ast.If | ast.IfExp)]


def public_methods(node: ast.ClassDef) -> list[str]:
    return [
        method.name
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        and not method.name.startswith("_")
    ]
