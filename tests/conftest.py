"""What many tests share: offline, one thread, and model folders written once a session."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

torch.set_num_threads(1)


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
    """Make a role by its part, as a run would; keyword sections change the settings."""
    from rlhf.cli.build import Part
    from tests.models import alone, experiment

    def make(kind, *, model=None, path=None, part=None, **sections):
        scalar = kind in ("judge", "apprentice", "value")
        found = path or folder("llama", model or ("classifier" if scalar else "causal"))
        place = {"judge": "reward", "apprentice": "reward", "value": "value"}.get(kind, "policy")
        settings = experiment(**sections)
        asked = Part(
            kind=kind,
            role=place,
            experiment=settings,
            path=found,
            total_updates=100,
            **(part or {}),
        )
        return asked(alone())

    return make
