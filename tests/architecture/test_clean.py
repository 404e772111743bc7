"""What must not be in the repository: loose ends, doubles for libraries, code from data, hosts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LOOSE_ENDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|NotImplemented" r"Error)\b")
DOUBLES = re.compile(r"\b(unittest\.m" r"ock|Magic" r"Mock|m" r"ock\.patch|monkeypatch\.setattr)\b")
RUNS_DATA = {"eval", "exec", "compile", "__import__"}
READS_CODE = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
LINK = re.compile(r"https?://([^/\s:\"'`)>\]}]+)")
# The only hosts a text of ours may name: papers, standards, projects, and examples of a user's own.
KNOWN_HOSTS = re.compile(
    r"^(arxiv\.org|doi\.org|github\.com|www\.apache\.org|keepachangelog\.com|semver\.org"
    r"|[\w.-]*\.(readthedocs\.io|w3\.org|example|test|invalid)|(www\.)?w3\.org|example\.(com|org)"
    r"|127\.0\.0\.1|localhost|HEAD|\$?\{?\w*\}?)$"
)
# Beside these a page may name where papers and models are published.
PUBLISHERS = re.compile(
    r"^(openreview\.net|aclanthology\.org|proceedings\.(mlr\.press|neurips\.cc)|jmlr\.org"
    r"|www\.nature\.com|dl\.acm\.org|huggingface\.co|modelscope\.cn)$"
)
TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".txt", ".lock", ".cfg", ".css", ".js")
FOLDERS = (
    "rlhf",
    "conf",
    "examples",
    "tests",
    "bench",
    "docs",
    "docker",
    "launch",
    ".ci",
    ".github",
)


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text of the repository that somebody wrote."""
    paths = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths.extend(path for path in (root / folder).rglob("*") if path.is_file())
    for path in sorted(paths):
        if path.suffix in TEXTS or path.name in {"Makefile", "Dockerfile", "run"}:
            yield path.relative_to(root), path.read_text(encoding="utf-8")


def test_no_loose_ends(root):
    found = [
        f"{path}:{number}"
        for path, text in texts(root)
        if path.suffix in {".py", ".sh", ".yaml"}
        for number, line in enumerate(text.splitlines(), 1)
        if LOOSE_ENDS.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_doubles_for_libraries(root):
    found = [
        f"{path}:{number}"
        for path, text in texts(root)
        if path.suffix == ".py"
        for number, line in enumerate(text.splitlines(), 1)
        if DOUBLES.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_code_is_run_from_data(modules):
    found = [
        f"{module.at(node)} {reason}"
        for module in modules
        for node in ast.walk(module.tree)
        for reason in dangers(node)
    ]
    assert not found, "\n".join(found)


def test_only_known_hosts_are_named(root):
    found = [
        f"{path}: {host}"
        for path, text in texts(root)
        for host in LINK.findall(text)
        if not is_known(host, path)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("host", "page", "is_allowed"),
    [
        ("arxiv.org", "rlhf/algo/kl.py", True),
        ("openreview.net", "docs/algorithms.md", True),
        ("huggingface.co", "docs/models.md", True),
        ("huggingface.co", "rlhf/models/folder.py", False),
        ("huggingface.co.evil.net", "docs/models.md", False),
        ("blog.somebody.io", "docs/models.md", False),
    ],
)
def test_pages_may_name_papers_and_hubs_and_code_may_not_ask_a_hub(host, page, is_allowed):
    assert is_known(host, Path(page)) == is_allowed


def test_the_lock_is_pinned_hashed_and_names_no_index(root):
    entries = re.split(
        r"\n(?=\S)", (root / "requirements.lock").read_text(encoding="utf-8").strip()
    )
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert len(packages) > 50
    loose = [entry.splitlines()[0] for entry in packages if "--hash=sha256:" not in entry]
    unpinned = [entry.splitlines()[0] for entry in packages if "==" not in entry.splitlines()[0]]
    heavy = [
        entry.splitlines()[0] for entry in packages if re.match(r"(nvidia|cuda|triton)", entry)
    ]
    assert not loose, "\n".join(loose)
    assert not unpinned, "\n".join(unpinned)
    assert not heavy, "\n".join(heavy)


def is_known(host: str, path: Path) -> bool:
    """Whether a file may name a host."""
    is_page = path.suffix == ".md"
    return bool(KNOWN_HOSTS.match(host) or (is_page and PUBLISHERS.match(host)))


def dangers(node: ast.AST) -> Iterator[str]:
    """What in a node would run code that came with data."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in READS_CODE)
    elif isinstance(node, ast.ImportFrom) and node.module in READS_CODE:
        yield str(node.module)
    elif isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in RUNS_DATA or called == "torch.load":
            yield called
        for keyword in node.keywords:
            if keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) != "False":
                yield "trust_remote_code"
            if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                yield "shell"
