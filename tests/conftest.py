"""What many tests share: offline, one thread, model folders, and who runs beside whom."""

from __future__ import annotations

import gc
import os
import signal
from functools import cache
from pathlib import Path

# Ray's processes give way to all others, by 15: beside a second worker they would hardly run.
os.environ.update(HF_HUB_OFFLINE="1", RAY_worker_niceness="0")

import pytest
import torch
from xdist import is_xdist_worker
from xdist.scheduler import LoadFileScheduling

torch.set_num_threads(1)
# A shell's background jobs do not hear Ctrl-C, nor would the programs that tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
LONGEST = ("ray", "nodes", "tests/closed_form", "tests/mutations", "tests/integration")
"""What workers are handed first, so that none of it is what the others wait for in the end."""


@cache
def group_of(file: str) -> str:
    """Return what one worker runs as a whole: a file, all that uses Ray, or all that boots nodes.

    Ray's clusters are started one after the other, as ports and cores ask for, and one is the
    session's; nodes have a network of their own, so they may be up beside those clusters.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    booted, on_ray = "from tests.integration.nodes import" in text, "pytest.mark.ray" in text
    return "nodes" if booted else "ray" if on_ray else file


class ByGroup(LoadFileScheduling):
    """Deals groups out to the workers, in the order of their tests."""

    def _split_scope(self, nodeid):
        return group_of(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config, log):
    """Deal out groups, unless another way was asked for."""
    return ByGroup(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_xdist_auto_num_workers(config):
    """Take two processes for folders; one for files, for a `-k`, and where there is one core."""
    few = config.option.keyword or not all(Path(name).is_dir() for name in config.args)
    return 0 if few or os.cpu_count() == 1 else 2


def pytest_collection_modifyitems(session, items):
    """Let the longest groups begin, where there are workers."""
    if is_xdist_worker(session):
        items.sort(key=place)


def pytest_collection_finish(session):
    """Leave what is imported by now out of later garbage collections."""
    gc.collect()
    gc.freeze()


def place(item) -> int:
    """Return where a test's group stands among all."""
    group = group_of(item.nodeid.partition("::")[0])
    places = [number for number, first in enumerate(LONGEST) if group.startswith(first)]
    return min(places, default=len(LONGEST))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Write a model folder once; give its path for a (family, kind)."""
    # The builders import transformers, which most tests can do without.
    from tests import models

    made: dict[tuple[str, str], str] = {}

    def find(family: str = "llama", kind: str = "causal") -> str:
        if (family, kind) not in made:
            build = {"causal": models.causal, "classifier": models.classifier}[kind]
            seed = {"causal": 0, "classifier": 1}[kind]
            home = tmp_path_factory.mktemp(f"{family}_{kind}")
            made[family, kind] = models.write(build(family, seed=seed), home)
        return made[family, kind]

    return find


@pytest.fixture
def role(folder):
    """Make a role as a run would, in this process; keyword sections change the settings."""
    from tests.models import alone, experiment
    from tests.specs import SCALAR, assigned

    def make(kind, *, model=None, path=None, fields=None, **sections):
        found = path or folder("llama", model or ("classifier" if kind in SCALAR else "causal"))
        return assigned(kind, found, experiment(**sections), **(fields or {}))(alone())

    return make
