"""Roles in this process, built as a run builds them."""

from __future__ import annotations

import pytest

from rlhf.cli.build import Part
from tests.models import alone, experiment


@pytest.fixture
def role(folder):
    """Make a role by its part; keyword sections change the settings."""

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
