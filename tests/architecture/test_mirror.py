"""The tests mirror the package: whoever looks for the test of a module knows where it is."""

from __future__ import annotations

import ast

# Rooms whose modules need a cluster or a whole program to say anything, and the other folders
# of tests/ in which their test_<module>.py may stand.
RUNS = ("contract", "integration")
OTHER_FOLDERS = {"runtime": RUNS, "cli": RUNS, "commands": RUNS, "sweeps": RUNS}

# Modules without a test of their own name: the file that covers each, and why it is there.
PAGE = "tests/unit/report/test_page.py"
LAYOUTS = "tests/unit/data/layouts/test_recognise.py"
COVERED_BY: dict[str, tuple[str, str]] = {
    "rlhf": ("tests/unit/test_api.py", "what it offers is what api has"),
    **{
        f"rlhf.data.layouts.{name}": (LAYOUTS, "a layout is judged by the rows that come of it")
        for name in ("layout", "chats", "dialogues", "pairs", "ratings", "oasst", "kto")
    },
    "rlhf.data.json_rows": ("tests/unit/data/test_rows.py", "its rows are read from files there"),
    "rlhf.data.mapping": (
        "tests/unit/data/test_examples.py",
        "columns are mapped as rows are read",
    ),
    "rlhf.checkpoint.manifest": (
        "tests/unit/checkpoint/test_store.py",
        "damage in any file is seen where a store reads its newest checkpoint",
    ),
    "rlhf.roles.trained": (
        "tests/unit/roles/test_saver.py",
        "each role that learns is saved and taken up again there",
    ),
    "rlhf.roles.sft_policy": (
        "tests/unit/roles/test_policy.py",
        "the policy that PPO improves learns from demonstrations too",
    ),
    "rlhf.runtime.context": (
        "tests/unit/runtime/test_specs.py",
        "what a role is built from is seen in the role",
    ),
    "rlhf.runtime.shared": (
        "tests/integration/test_sweep.py",
        "it needs trials that come and go, and fill it",
    ),
    "rlhf.data.template": (
        "tests/unit/data/test_chat.py",
        "what a template renders is judged by the ids that chat gives",
    ),
    "rlhf.data.turns": (
        "tests/unit/data/test_chat.py",
        "the turns that are learned are judged on whole conversations",
    ),
    "rlhf.commands.evaluate": (
        "tests/wiring/test_figures.py",
        "every figure of an evaluation is computed anew there",
    ),
    "rlhf.commands.data_view": (
        "tests/unit/commands/test_data.py",
        "what is drawn is read off what the command prints",
    ),
    "rlhf.commands.session": (
        "tests/unit/commands/test_table.py",
        "a session is opened by the commands",
    ),
    "rlhf.commands.train": (
        "tests/unit/commands/test_table.py",
        "the training commands are run there",
    ),
    "rlhf.report.figures": (
        "tests/unit/sweeps/test_table.py",
        "the figures of runs are compared in a sweep's table",
    ),
    "rlhf.engine.zero_state": (
        "tests/contract/test_engines.py",
        "it needs a DeepSpeed engine, on one rank and on two",
    ),
    "rlhf.report.answers": (PAGE, "a section is judged on the page that holds it"),
    "rlhf.report.curves": (PAGE, "a section is judged on the page that holds it"),
    "rlhf.report.outcome": (PAGE, "a section is judged on the page that holds it"),
    "rlhf.report.quality": (PAGE, "a section is judged on the page that holds it"),
    "rlhf.report.setup": (PAGE, "a section is judged on the page that holds it"),
    "rlhf.report.read": (PAGE, "whole, partial and damaged runs are read for a page"),
    "rlhf.report.stack": (
        "tests/unit/report/test_chart.py",
        "stacked areas are charts, and keep the rules of charts",
    ),
}


def has_code(tree: ast.Module) -> bool:
    """Whether a module does something: one function with more than a docstring or `...` in it.

    Records, settings and Protocols only declare; what uses them tests them.
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(does_something(node) for node in ast.walk(tree) if isinstance(node, functions))


def does_something(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a statement of the function is more than a constant."""
    return not all(
        isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
        for line in function.body
    )


def test_every_module_has_its_test(root, modules):
    missing = []
    for module in modules:
        if not has_code(module.tree) or module.name in COVERED_BY:
            continue
        inside = module.path.relative_to(root / "rlhf")
        name = module.name.rpartition(".")[2]
        places = [root / "tests" / "unit" / inside.parent / f"test_{name}.py"]
        for folder in OTHER_FOLDERS.get(module.room, ()):
            places.append(root / "tests" / folder / f"test_{name}.py")
        if not any(place.exists() for place in places):
            missing.append(f"{module.name}: {places[0].relative_to(root)}")
    assert not missing, "\n".join(missing)


def test_the_exceptions_are_still_true(root, modules):
    names = {module.name for module in modules}
    gone = [name for name in COVERED_BY if name not in names]
    bare = [file for file, _ in COVERED_BY.values() if not (root / file).exists()]
    assert not gone, "\n".join(gone)
    assert not bare, "\n".join(bare)


def test_every_unit_test_has_its_module(root):
    stray = []
    for path in sorted((root / "tests" / "unit").rglob("test_*.py")):
        inside = path.relative_to(root / "tests" / "unit").parent
        name = path.stem.removeprefix("test_")
        module = root / "rlhf" / inside / f"{name}.py"
        package = root / "rlhf" / inside / name / "__init__.py"
        if not module.exists() and not package.exists():
            stray.append(str(path.relative_to(root)))
    assert not stray, "\n".join(stray)
