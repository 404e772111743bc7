"""Every known way to break the code, by room."""

from __future__ import annotations

from tests.mutations import (
    algo,
    checks,
    data,
    engine,
    generation,
    learning,
    losses,
    models,
    rewards,
    roles,
    stages,
    steps,
    wiring,
    wiring_of_stages,
)
from tests.mutations.mutation import Mutation

MUTATIONS: tuple[Mutation, ...] = (
    *algo.MUTATIONS,
    *steps.MUTATIONS,
    *losses.MUTATIONS,
    *data.MUTATIONS,
    *models.MUTATIONS,
    *engine.MUTATIONS,
    *generation.MUTATIONS,
    *rewards.MUTATIONS,
    *roles.MUTATIONS,
    *learning.MUTATIONS,
    *stages.MUTATIONS,
    *wiring.MUTATIONS,
    *wiring_of_stages.MUTATIONS,
    *checks.MUTATIONS,
)
"""In the order of the rooms, from the lowest up."""
