"""The record of a metric: its docs, plots, alarms and place in the live line derive from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlhf.catalog.signs import Sign


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """A metric's place in the line that a terminal shows while its stage runs."""

    label: str
    order: int
    """Lower ones come first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """A metric that sums up its stage when that is done; the first one known is shown."""

    says: str
    """The line, filled as an alarm's: `first` and `last` are the metric's own values, any other
    name is the last value of that metric."""
    order: int
    """Lower ones come first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """The picture in the report that a metric is the main line of."""

    title: str
    unit: str = ""
    """What stands beside the title: the unit, or what kind of value it is."""
    order: int
    """Lower ones come first."""
    label: str = ""
    """The metric's name at the end of its line, where there are several lines."""
    others: tuple[tuple[str, str], ...] = ()
    """Further metrics of the stage in the same picture, each with its label."""
    is_folded: bool = False
    """Whether it stands among "More curves", for a second look."""
    percent: bool = False
    zero: bool = False
    """Whether the axis begins at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A sign of trouble that a metric shows; it never stops a run."""

    name: str
    """Stays the same while the values in its line move; stands in RUN/warnings.jsonl."""
    sign: Callable[[str], Sign]
    """Makes what watches the metric of this name."""
    when: str
    """The rule, for docs/metrics.md."""
    says: str
    """The line: the sign with its value, what it means, and after a semicolon what to do. It is
    filled with what the sign found; {x:short}, {x:nats}, {x:percent} and {x:signed} write a number
    for a person (rlhf/observe/numbers.py)."""
    order: int
    """Lower ones come first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """Everything that is known of a metric, once; texts may be Markdown and name settings."""

    name: str
    stages: tuple[str, ...]
    """The stages that report it; a name may be declared anew for another stage."""
    unit: str = ""
    """Empty for a pure number; `share` is a part of 1, which people read in percent."""
    meaning: str
    normal: str = ""
    otherwise: str = ""
    """What it says, and what to do, when it is not as is normal."""
    trl: str = ""
    """Its name in TRL, in backticks; `(~)` after it: nearly the same."""
    verl: str = ""
    """Its name in verl, likewise."""
    was: tuple[str, ...] = ()
    """Names that it had in earlier releases; they are read as today's."""

    derived: Callable[[Mapping[str, float]], float | None] | None = None
    """Gives the value from the other figures of the same step, None where they do not tell it;
    a metric without it is recorded where its value is known."""
    live: Live | None = None
    headline: Headline | None = None
    plot: Plot | None = None
    smooth: bool = True
    """Whether a moving mean is drawn; not where a value is set, or measured over many rows."""
    alarms: tuple[Alarm, ...] = ()
