"""The Dockerfile, read and not built: what a reviewer would check by eye."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile and its arguments, continued lines joined."""
    lines = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


def every(steps: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in steps if name == word]


def test_the_base_is_an_exact_version_with_room_for_its_digest(steps):
    bases = every(steps, "FROM")
    assert bases
    for base in bases:
        assert re.match(r"python:3\.11\.\d+-slim-bookworm\$\{BASE_DIGEST\}( AS \w+)?$", base)
    assert steps[0] == ("ARG", 'BASE_DIGEST=""')


def test_the_program_does_not_run_as_root(steps):
    last_stage = steps[max(i for i, (name, _) in enumerate(steps) if name == "FROM") :]
    users = every(last_stage, "USER")
    assert users == ["10001"]
    assert any("--uid 10001" in run for run in every(last_stage, "RUN"))


def test_the_image_runs_rlhf(steps):
    assert every(steps, "ENTRYPOINT") == ['["rlhf"]']


def test_everything_copied_exists_and_is_sent_to_the_builder(steps):
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = [copy.split() for copy in every(steps, "COPY") if not copy.startswith("--from")]
    sources = [source for copy in copies for source in copy[:-1]]
    assert {"requirements.lock", "rlhf", "conf"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in sent, source


def test_every_package_is_installed_from_the_lock_or_pinned(steps):
    installs = [
        command.strip()
        for run in every(steps, "RUN")
        for command in run.split("&&")
        if "pip install" in command
    ]
    assert len(installs) == 4
    for command in installs:
        hashed = "--no-deps --require-hashes -r" in command.replace("--no-build-isolation ", "")
        itself = command.endswith("--no-deps --no-build-isolation .")
        assert hashed or itself or command == "pip install torch==2.13.0 ${TORCH_OPTIONS}", command


def test_torch_is_the_makefiles_torch(steps):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = re.findall(r"^TORCH := (\S+)$", makefile, flags=re.MULTILINE)
    assert pinned
    assert any(f"pip install {pinned[0]} " in run for run in every(steps, "RUN"))


def test_system_packages_are_pinned_and_their_lists_removed(steps):
    for run in every(steps, "RUN"):
        if "apt-get install" in run:
            packages = run.partition("--no-install-recommends")[2].partition("&&")[0].split()
            assert packages
            assert all("=" in package for package in packages)
            assert "rm -rf /var/lib/apt/lists/*" in run
