"""Whatever uses Ray is dealt to the one worker of the suite that has a cluster."""

from __future__ import annotations

import re

from tests.conftest import group_of

ASKS = re.compile(r"\b(ray_nodes|ray_groups|cluster_utils|ray\.init|RayCluster\()")


def test_what_asks_for_a_cluster_is_run_where_the_cluster_is(root):
    files = [path.relative_to(root).as_posix() for path in (root / "tests").rglob("test_*.py")]
    asking = [file for file in files if ASKS.search((root / file).read_text(encoding="utf-8"))]
    own = "tests/architecture/test_workers.py"
    found = {file: group_of(file) for file in asking if file != own}
    assert len(found) >= 5
    assert set(found.values()) == {"ray"}, found


def test_only_what_boots_nodes_runs_beside_it_and_all_else_by_file():
    assert group_of("tests/integration/test_multinode.py") == "nodes"
    assert group_of("tests/integration/test_launch.py") == "nodes"
    assert group_of("tests/contract/test_engines.py") == "ray"
    assert group_of("tests/unit/algo/test_losses.py") == "tests/unit/algo/test_losses.py"
