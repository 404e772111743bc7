"""The declared metrics by stage and name: what of them is shown where, and which name is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Final, TypeVar

from rlhf.catalog.metric import Alarm, Headline, Live, Metric, Plot
from rlhf.catalog.metrics import METRICS
from rlhf.catalog.stages import STAGES
from rlhf.errors import RLHFError

_Shown = TypeVar("_Shown", Live, Headline, Plot, Alarm)

DECLARED: Final = {(stage, metric.name): metric for metric in METRICS for stage in metric.stages}
"""Every metric by stage and name."""
RENAMED: Final = {old: metric.name for metric in METRICS for old in metric.was}
"""Metrics of earlier releases, by the names they have now."""


ONE: Final = r"/[^/]+/"
ANY: Final = "/NAME/"
"""Stands in a declared name for whatever its user chose."""


class UndeclaredMetricError(RLHFError, LookupError):
    """A metric was recorded, or asked for, whose name is not declared for its stage."""


def metric(stage: str, name: str) -> Metric:
    """Return a metric's declaration.

    Raises:
        UndeclaredMetricError: when the stage has no metric of this name; names the nearest.
    """
    # One name stands for a family: reward/NAME/score for every source of the reward.
    found = DECLARED.get((stage, name)) or DECLARED.get((stage, re.sub(ONE, ANY, name)))
    if found is None:
        raise UndeclaredMetricError(
            f"{name}: {stage} has no metric of that name; {_nearest(stage, name)}. Declare a "
            "new one in rlhf/catalog/metrics/, or correct the name"
        )
    return found


def check_names(stage: str, names: Iterable[str]) -> None:
    """Raise UndeclaredMetricError when a name is not declared for the stage."""
    for name in names:
        metric(stage, name)


def derived_of(stage: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a stage that follow from the other figures of a step."""
    found = {
        name: each.derived(figures)
        for (of, name), each in DECLARED.items()
        if of == stage and each.derived is not None
    }
    return {name: value for name, value in found.items() if value is not None}


def alarms_of(stage: str) -> list[tuple[str, Alarm]]:
    """Return (metric, alarm) for every alarm of a stage, in their order."""
    return _shown(stage, lambda each: each.alarms)


def live_of(stage: str) -> list[tuple[str, Live]]:
    """Return the metrics that a terminal shows while a stage runs, in their order."""
    return _shown(stage, lambda each: (each.live,) if each.live else ())


def headlines_of(stage: str) -> list[tuple[str, Headline]]:
    """Return the metrics that may sum up a stage, the best first."""
    return _shown(stage, lambda each: (each.headline,) if each.headline else ())


def plots_of(stage: str, *, folded: bool) -> list[tuple[str, Plot]]:
    """Return the pictures of a stage, those for a second look or the others, in their order."""
    plots = _shown(stage, lambda each: (each.plot,) if each.plot else ())
    return [(name, plot) for name, plot in plots if plot.is_folded == folded]


def _shown(stage: str, parts: Callable[[Metric], tuple[_Shown, ...]]) -> list[tuple[str, _Shown]]:
    found = [
        (name, part) for (of, name), each in DECLARED.items() if of == stage for part in parts(each)
    ]
    return sorted(found, key=lambda pair: pair[1].order)


def _nearest(stage: str, name: str) -> str:
    elsewhere = [of.name for of in STAGES if (of.name, name) in DECLARED]
    if elsewhere:
        return f"it is declared for {', '.join(elsewhere)}"
    here = [known for of, known in DECLARED if of == stage]
    near = get_close_matches(name, here, n=1, cutoff=0.5)
    return f"the nearest is {near[0]}" if near else "none is near it"
