"""The files of launch/: whole and legal, all with the same entrypoint, and SLURM's run for real."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from importlib.resources import files

import jsonschema
import psutil
import pytest
import yaml

from rlhf.config.load import keys
from tests.integration.nodes import ROOT, Network, environment, why_not

LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
WHY_NOT = why_not()
TOKEN_MODE = "RAY_AUTH_MODE=token"


def text(name: str) -> str:
    return (LAUNCH / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_legal_bash_that_stops_at_the_first_fault(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=style", script], check=True)


def test_every_file_is_short_and_ends_in_the_pipeline():
    for path in LAUNCH.iterdir():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 70, path
        assert any(re.search(r"\brlhf .*\bpipeline\b|\brlhf pipeline\b", line) for line in lines)


def test_no_cluster_is_started_without_a_token():
    for name in ("slurm.sbatch", "ray-cluster.yaml", "kuberay-rayjob.yaml"):
        assert TOKEN_MODE in text(name) or "mode: token" in text(name)


def test_no_file_names_a_home_or_a_user_of_ours():
    for path in LAUNCH.iterdir():
        assert not re.search(r"/(home|root|Users)/", path.read_text(encoding="utf-8")), path


def test_the_cluster_launchers_file_obeys_rays_own_schema():
    config = yaml.safe_load(text("ray-cluster.yaml"))
    schema = json.loads(files("ray.autoscaler").joinpath("ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    provider = config["provider"]
    assert len(provider["worker_ips"]) == config["max_workers"]
    for role in ("head", "worker"):
        stop, start = config[f"{role}_start_ray_commands"]
        assert stop.endswith("ray stop")
        assert TOKEN_MODE in start


def test_the_launchers_start_commands_are_options_that_ray_has():
    from ray.scripts.scripts import start

    config = yaml.safe_load(text("ray-cluster.yaml"))
    known = {name for option in start.params for name in option.opts}
    commands = [config[f"{role}_start_ray_commands"][1] for role in ("head", "worker")]
    for command in [*commands, *re.findall(r"join=.*|exec ray start.*", text("slurm.sbatch"))]:
        given = set(re.findall(r"--[a-z-]+", command))
        assert given <= known, given - known


@pytest.fixture(scope="module")
def rayjob() -> dict:
    return yaml.safe_load(text("kuberay-rayjob.yaml"))


def pods(rayjob: dict) -> list[dict]:
    """The pod templates of head and workers."""
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_rayjob_has_what_kuberay_asks_for_and_nothing_it_does_not_know(rayjob):
    import ray

    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert set(rayjob) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(rayjob["spec"]) <= {
        "entrypoint",
        "backoffLimit",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    assert set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in cluster["workerGroupSpecs"]:
        assert {"groupName", "replicas", "rayStartParams", "template"} <= set(group)
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_every_pod_of_the_rayjob_mounts_the_shared_disk_and_its_limits_are_its_requests(rayjob):
    run_dir = settings(rayjob)["run_dir"]
    for pod in pods(rayjob):
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        shared = [name for place, name in mounts.items() if run_dir.startswith(f"{place}/")]
        assert "persistentVolumeClaim" in volumes[shared[0]]
        assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory"}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["securityContext"]["fsGroup"] == 10001


def test_the_rayjobs_settings_exist_and_its_ranks_fit_its_gpus(rayjob):
    given = settings(rayjob)
    assert set(given) - {"recipe"} <= set(keys())
    workers = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    gpus = sum(
        group["replicas"]
        * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        for group in workers
    )
    ranks = int(given["cluster.policy.ranks"]) + 3
    assert ranks * float(given["cluster.gpus_per_rank"]) <= gpus


def settings(rayjob: dict) -> dict[str, str]:
    """The settings in the entrypoint, which is the program itself."""
    program, command, *overrides = shlex.split(rayjob["spec"]["entrypoint"])
    assert (program, command) == ("rlhf", "pipeline")
    return dict(word.split("=", 1) for word in overrides)


SRUN = """#!/usr/bin/env bash
# Stands in for SLURM: hands the command to every node of the test, and runs until it is ended.
while [[ "$1" == --* ]]; do shift; done
{ export -p; printf '%q ' "$@"; } > "$ORDERS/written"
mv "$ORDERS/written" "$ORDERS/order"
exec sleep infinity
"""
NODE = """
until [ -e "$ORDERS/order" ]; do sleep 0.2; done
SLURM_NODEID=$1 SLURM_CPUS_ON_NODE=2 exec bash "$ORDERS/order"
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.skipif(bool(WHY_NOT), reason=f"no nodes on this machine: {WHY_NOT}")
def test_slurms_script_starts_ray_on_two_nodes_and_ends_with_the_pipelines_exit_code(tmp_path):
    """What SLURM does is done by a stand-in for `srun`; Ray, token, job and exit code are real."""
    programs, folder = tmp_path / "bin", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "srun").chmod(0o755)
    started = environment(ORDERS=str(tmp_path))
    env = {**started, "PATH": f"{programs}:{started['PATH']}", "SLURM_JOB_NUM_NODES": "2"}
    del env["RAY_AUTH_MODE"], env["RAY_AUTH_TOKEN"]
    env["SLURM_SUBMIT_DIR"] = str(folder)
    with Network(tmp_path / "nodes", env) as network:
        for number in (1, 2):
            network.boot(number, "bash", "-c", NODE, "node", str(number - 1))
        (first,) = psutil.Process(network.nodes[1].process.pid).children()
        batch = ["nsenter", "--all", f"--target={first.pid}", "bash", LAUNCH / "slurm.sbatch"]
        ended = subprocess.run(
            [*batch, "ppo.kl_cof=1", f"run_dir={tmp_path}/run"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "ppo.kl_cof: unknown setting" in ended.stdout
    assert "job rlhf-pipeline-" in ended.stderr
