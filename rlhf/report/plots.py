"""Which curves are drawn for each stage, as their metrics declare it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rlhf.catalog.declared import plots_of
from rlhf.catalog.stages import STAGES


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture of a stage: its metrics with the names they carry at the end of their line."""

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    percent: bool = False
    zero: bool = False


def _plots(stage: str, *, folded: bool) -> tuple[Plot, ...]:
    return tuple(
        Plot(plot.title, plot.unit, ((name, plot.label), *plot.others), plot.percent, plot.zero)
        for name, plot in plots_of(stage, folded=folded)
    )


MAIN: Final = {stage.name: _plots(stage.name, folded=False) for stage in STAGES}
"""Pictures always shown, by stage."""

MORE: Final = {stage.name: _plots(stage.name, folded=True) for stage in STAGES}
"""Pictures for a second look, folded away."""
