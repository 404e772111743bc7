"""Nodes: what a real node answers, and every difference that is a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlhf.errors import ConfigError
from rlhf.runtime.nodes import Answer, Node, Question, ask_nodes, check_nodes, faults, look

ADDRESS = "10.0.0.7"


@pytest.mark.ray
def test_a_node_like_the_drivers_passes(ray_groups, tmp_path, folder):
    reply = check_nodes(tmp_path, [folder()], count_devices=False, timeout_s=120)
    assert reply == f"2 of 2 nodes have these versions, and see {tmp_path}"
    assert not list(tmp_path.iterdir()), "the marker is gone"
    with pytest.raises(ConfigError, match=r"has no /nowhere/model; put the model on a disk that"):
        check_nodes(tmp_path, ["/nowhere/model"], count_devices=False, timeout_s=120)


@pytest.mark.ray
def test_a_node_reports_what_it_has(ray_groups, tmp_path):
    answer, _ = ask_nodes(Question(marker=str(tmp_path / "nowhere"), shown_within_s=0.1), 120)
    here = look(Question(marker=None))
    assert isinstance(answer.reply, Node)
    assert answer.reply.versions == here.versions
    assert not answer.reply.sees_marker
    assert list(faults(answer, tmp_path)) == [
        f"node {answer.address} ({here.host}): does not see what the driver writes to {tmp_path}; "
        "run_dir must be an absolute path on a disk that all nodes share"
    ]


@pytest.mark.ray
def test_a_node_that_does_not_answer_is_named(ray_groups):
    answer, _ = ask_nodes(Question(marker=None), 0.0)
    assert next(faults(answer, None)).startswith(f"node {answer.address} did not answer within 0 s")


@pytest.mark.parametrize("package", ["rlhf", "python", "ray", "torch", "deepspeed", "transformers"])
def test_another_version_is_a_failure(package, tmp_path):
    here = look(Question(marker=None))
    other = replace(here, versions={**here.versions, package: "0.0.1"})
    (told,) = faults(Answer(ADDRESS, 0, other), tmp_path)
    assert f"node {ADDRESS} ({here.host}): {package} 0.0.1, the driver has" in told


def test_fewer_devices_than_ray_counts_on(tmp_path):
    node = replace(look(Question(marker=None)), devices=1)
    assert not list(faults(Answer(ADDRESS, 1.0, node), tmp_path))
    (told,) = faults(Answer(ADDRESS, 8.0, node), tmp_path)
    assert "torch finds 1 accelerators, Ray counts on 8" in told


def test_a_folder_that_takes_no_marker(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written to"):
        check_nodes(tmp_path / "nowhere", [], count_devices=False, timeout_s=1)
