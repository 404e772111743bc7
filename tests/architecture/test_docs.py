"""What the documents say is there: links, settings, commands, folders, metrics."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from rlhf.catalog.declared import DECLARED, RENAMED
from rlhf.cli.main import COMMANDS
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.load import keys
from rlhf.config.raw_deepspeed import raw_checks
from rlhf.observe.samples import score_name
from rlhf.observe.spans import PHASES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
KEYS = set(keys())
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
# `policy.new` is a section that is off; its fields are settings all the same.
GROUPS = {
    folder.name: {path.stem for path in folder.glob("*.yaml")}
    for folder in (ROOT / "conf").iterdir()
    if folder.is_dir()
}
RAW = "engine.deepspeed."
"""DeepSpeed's own settings stand below this."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
GIVEN = re.compile(
    r"(?<!-sc )(?<![\w.\-/=])\+{0,2}([a-z][a-z_]*(?:\.[a-z_]+)*)=(\[[^\]\n]*\]|[^\s`]+)"
)
DOTTED = re.compile(r"(?<![\w./\-])([a-z_]+(?:\.[a-z_]+)+)(?![\w(/*])")
COMMAND = re.compile(r"\brlhf ([a-z_]+)\b")
FILE_ENDINGS = (".py", ".md", ".json", ".jsonl", ".yaml", ".html", ".safetensors", ".parquet")
METRIC = re.compile(r"[a-z]+/[a-z0-9_]+")
INSIDE = {"policy/ratio_square"}
"""Statistics that are means while a step lasts, and are dropped before it is reported."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_every_relative_link_leads_somewhere(page):
    broken = [
        target
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if not re.match(r"https?:", target) and not leads_somewhere(page, target)
    ]
    assert not broken, broken


@pages
def test_every_setting_is_legal(page):
    wrong = [problem for text in code(page) for problem in problems(text)]
    assert not wrong, "\n".join(wrong)


@pages
def test_every_command_exists(page):
    named = {name for text in code(page) for name in COMMAND.findall(text)}
    assert named <= set(COMMANDS), named - set(COMMANDS)


def test_every_command_is_in_the_readme():
    readme = " ".join(code(ROOT / "README.md"))
    assert set(COMMANDS) <= set(COMMAND.findall(readme))


def test_every_room_is_in_the_pictures():
    rooms = {path.parent.name for path in (ROOT / "rlhf").glob("*/__init__.py")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = readme.partition("## The tree")[2].partition("```\n")[2].partition("\n```")[0]
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == rooms
    assert set(re.findall(r"^\| `rlhf/(\w+)/`", architecture, re.MULTILINE)) == rooms
    missing = [
        name for name in re.findall(r"^(\w+)/", tree, re.MULTILINE) if not (ROOT / name).is_dir()
    ]
    assert not missing, missing


@pages
def test_every_file_named_exists(page):
    named = {
        name
        for text in SPAN.findall(page.read_text(encoding="utf-8"))
        for name in re.findall(r"^((?:rlhf|tests|conf|docs|launch|docker)/[\w./]*)$", text)
    }
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing, missing


def test_the_page_of_settings_is_what_make_docs_writes():
    maker = maker_of("configuration")
    wanted = maker.HEADER + "\n".join(maker.tables(Experiment)) + "\n"
    found = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert found == wanted, "docs/configuration.md is behind the code; run `make docs`"


def test_the_page_of_metrics_is_what_make_docs_writes():
    maker = maker_of("metrics")
    found = maker.PAGE.read_text(encoding="utf-8")
    assert found == maker.rewritten(found), "docs/metrics.md is behind the code; run `make docs`"
    for name in (name for _, name in DECLARED):
        assert re.search(rf"^\| `{name}` \|", found, re.MULTILINE), name


def test_a_table_of_metrics_without_its_mark_is_an_error():
    maker = maker_of("metrics")
    page = maker.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="marks .* tables"):
        maker.rewritten(page.replace("<!-- made: policy -->", ""))


def test_every_metric_is_declared_and_none_that_is_not_logged(modules):
    derived = {name for (_, name), each in DECLARED.items() if each.derived is not None}
    assert {name for _, name in DECLARED} == logged(modules) | derived


def test_every_metric_that_the_code_names_is_declared(modules):
    """Not only where it is logged: a page or a table that reads a misspelt one would be empty."""
    declared = {name for _, name in DECLARED}
    families = {name.partition("/")[0] for name in declared if "/" in name}
    strange = [
        f"{module.name}: {name}"
        for module in modules
        for name in filter(METRIC.fullmatch, constants(module.tree))
        if name.partition("/")[0] in families and name not in {*declared, *RENAMED, *INSIDE}
    ]
    assert not strange, "\n".join(strange)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("ppo.kl_coef=0.1 peft=lora policy.new.hidden_size=128", 0),
        ("ppo.kl_coef=0.02,0.05,0.1", 0),
        ("rlhf ppo ppo.kl_cof=0.1", 1),
        ("ppo.kl_coef=much", 1),
        ("engine.deepspeed.zero_optimization.overlap_comm=true", 0),
        ("engine.deepspeed.zero_optimization.stage=3", 1),
        ("peft=lore", 1),
        ("frobnicate=1", 1),
        ("look at engine.max_tokens", 1),
        ("look at engine.max_tokens_per_microbatch and ppo", 0),
        ("policy.improve(experience)", 0),
        ("reward_model.json", 0),
        ("rlhf -sc install=bash", 0),
    ],
)
def test_problems_are_seen(text, number):
    assert len(problems(text)) == number


def maker_of(page: str) -> ModuleType:
    """The program that writes a page of docs/."""
    path = ROOT / "docs" / f"make_{page}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return maker


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether a link's file exists, and its heading too if it names one."""
    name, _, heading = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return False
    return not heading or heading in headings(path)


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code(page: Path) -> Iterator[str]:
    """Every piece of code of a page that is no program and no drawing, prose left out."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language not in {"python", "json", "mermaid"}:
            yield block.replace("\\\n", " ")
    yield from SPAN.findall(FENCE.sub("", text))


def problems(text: str) -> list[str]:
    """What in a piece of code looks like a setting and is none, or has no legal value."""
    given = [problem for key, value in GIVEN.findall(text) for problem in fault(key, value)]
    rest = GIVEN.sub(" ", text)
    named = [
        f"{name}: no such setting"
        for name in DOTTED.findall(rest)
        if name.partition(".")[0] in SECTIONS and not name.endswith(FILE_ENDINGS)
        if not is_setting(name)
    ]
    return given + named


def fault(key: str, value: str) -> Iterator[str]:
    """Check one key=value; `...` stands for any value, commas for the values of a sweep."""
    if key in GROUPS and "." not in key:
        if value != "..." and value not in GROUPS[key]:
            yield f"{key}={value}: legal are {sorted(GROUPS[key])}"
    elif key.startswith(RAW):
        raw: object = value
        for part in reversed(key.removeprefix(RAW).split(".")):
            raw = {part: raw}
        yield from raw_checks(raw)
    elif key not in KEYS:
        yield f"{key}={value}: no such setting"
    elif "..." not in value and not any(takes(key, each) for each in (value, *value.split(","))):
        yield f"{key}={value}: not a legal value"


def takes(key: str, value: str) -> bool:
    """Whether the configuration accepts a value."""
    nested: object = yaml.safe_load(value.strip(";:."))
    for part in reversed(key.split(".")):
        nested = {part: nested}
    try:
        Experiment.model_validate(nested)
    except ValidationError:
        return False
    return True


def is_setting(name: str) -> bool:
    """Whether a dotted name is a setting, or a section that has some."""
    return any(key == name or key.startswith(f"{name}.") for key in KEYS)


def logged(modules) -> set[str]:
    """Every metric's name, as the code that reports it spells it."""
    found: set[str] = set()
    dropped: set[str] = set()
    for module in modules:
        if module.room in {"roles", "stages"}:
            found |= set(filter(METRIC.fullmatch, constants(module.tree)))
            for call in calls(module.tree):
                if ast.unparse(call.func) in {"Metrics", "Metrics.of", "Metrics.sums"}:
                    found |= set(dictionary_keys(call))
                if ast.unparse(call.func).endswith(".pop"):
                    dropped |= set(constants(call))
    sources = {score_name("NAME"), f"{score_name('NAME')}_std"}
    times = {f"time/{phase}_s" for phase in PHASES}
    roles = get_args(RoleName)
    return (
        found - dropped
        | sources
        | times
        | {f"busy/{r}_s" for r in roles}
        | {f"idle/{r}" for r in roles}
    )


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call below a node."""
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def constants(tree: ast.AST) -> Iterator[str]:
    """Every text below a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def dictionary_keys(call: ast.Call) -> Iterator[str]:
    """Every key of a dictionary written out in a call."""
    for node in ast.walk(call):
        if isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value
