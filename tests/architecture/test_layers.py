"""Who may import whom: the contracts of pyproject.toml, and the closed list behind `pure`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command;"
        f"lint_imports_command(['--no-logo', '--no-cache', '--config', {str(config)!r}])"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_import_contract_is_kept(root):
    done = lint_imports(root, root / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("rlhf/algo/kl.py", "import rlhf.stages", "a room imports only rooms below it"),
        ("rlhf/algo/kl.py", "import ray", "one door: ray in runtime"),
        ("rlhf/config/load.py", "import torch", "catalog, config and errors never reach torch"),
        ("rlhf/newroom/new.py", "import torch", "a room imports only rooms below it"),
    ],
)
def test_a_forbidden_import_is_caught(root, tmp_path, file, line, contract):
    """The contracts bite: the same check on a copy with one bad line names the contract."""
    for path in (root / "rlhf").rglob("*.py"):
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    bad = tmp_path / file
    bad.parent.mkdir(exist_ok=True)
    (bad.parent / "__init__.py").touch()
    with bad.open("a") as stream:
        stream.write(f"\n{line}\n")
    done = lint_imports(tmp_path, root / "pyproject.toml")
    assert done.returncode != 0
    assert contract in done.stdout


def test_algo_and_flow_import_torch_and_the_standard_library_only(modules):
    allowed = set(sys.stdlib_module_names) | {"torch", "rlhf"}
    strangers = [
        f"{module.at(node)} {name}"
        for module in modules
        if module.room in {"algo", "flow"}
        for node in ast.walk(module.tree)
        for name in imported(node)
        if name.partition(".")[0] not in allowed
    ]
    assert not strangers, "\n".join(strangers)


def test_config_needs_no_torch_at_run_time(root):
    program = "import sys, rlhf.config.load; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
    assert done.returncode == 0


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module]
    return []


def test_above_the_models_transformers_is_only_a_type(modules):
    """What pyproject.toml excuses is excused as a type: outside TYPE_CHECKING it is an error."""
    running = [
        f"{module.at(node)} {name}"
        for module in modules
        if module.room not in {"models", "data", "generation"}
        for node in ast.walk(without_type_checking(module.tree))
        for name in imported(node)
        if name.partition(".")[0] in {"transformers", "tokenizers", "peft"}
    ]
    assert not running, "\n".join(running)


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The module without the imports that only a type checker reads."""
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(body=kept, type_ignores=[])


def imports_of(module) -> set[str]:
    """Modules of ours that a module imports, those within functions too; not for types alone."""
    for_types = [
        inside
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    ]
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node not in for_types:
            source = node.module or ""
            found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import) and node not in for_types:
            found |= {alias.name for alias in node.names}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Modules that reach each other."""
    reached = {name: set(graph[name]) for name in graph}
    for _ in graph:
        wider = {
            name: of | {far for near in of for far in reached[near]} for name, of in reached.items()
        }
        if wider == reached:
            break
        reached = wider
    return [
        {other for other in graph if other in reached[name] and name in reached[other]}
        for name in graph
        if name in reached[name]
    ]


def test_no_imports_go_in_a_circle_even_lazy_ones(modules):
    names = {module.name for module in modules}
    graph = {module.name: (imports_of(module) & names) - {module.name} for module in modules}
    assert not circles(graph), circles(graph)
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[0] == {"a", "b", "c"}
