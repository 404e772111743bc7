"""How a number is written for a person: few digits, a true minus sign, a unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, Final

ROUNDING: Final = 1e-5
"""Nats a response: fp32 has 6e-8 of each log-probability, which sum to some hundred."""


def finite(value: object) -> float | None:
    """Return a finite number as a float, and None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def short(value: float | None, digits: int = 3) -> str:
    """Write a number with about `digits` significant digits: 0.0123, 12.3, 12,300, 1.2e-6."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size < 1e-3 or size >= 1e7:
        text = _scientific(size, digits)
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        decimals = min(decimals, digits) if size >= 0.01 else decimals
        text = f"{size:,.{decimals}f}"
    return f"\u2212{text}" if value < 0 and text.strip("0.,") else text


def nats(value: float | None) -> str:
    """Write a KL: one nearer to 0 than fp32 sums of log-probabilities are exact reads as ≈0."""
    is_rounding = value is not None and 0 < abs(value) < ROUNDING
    return "\u22480" if is_rounding else short(value)


def counted(number: int, thing: str) -> str:
    """Write how many there are: 1 step, 1,200 steps."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign: +0.12, \u22120.3."""
    return f"+{short(value, digits)}" if value > 0 else short(value, digits)


def percent(share: float | None) -> str:
    """Write a share of 1 as whole percent: 74 %, with a no-break space."""
    if share is None or not math.isfinite(share):
        return "\u2013"
    text = short(100 * share) if abs(share) >= 1e5 else f"{round(100 * share)}"
    return f"{text}\u00a0%"


def duration(seconds: float) -> str:
    """Write seconds for a person: 0.8 s, 42 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{hours} h {minutes % 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def filled(line: str, values: Mapping[str, object]) -> str:
    """Return a declared line (rlhf/catalog/metric.py) with its values; a missing one is a dash.

    {x:short}, {x:nats}, {x:percent} and {x:signed} write a number as the functions here do, any
    other format as Python does.
    """
    return _LINES.vformat(line, (), values)


class _Lines(Formatter):
    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        write = _WRITE.get(format_spec)
        return write(value) if write else format(value, format_spec)


_LINES: Final = _Lines()
_WRITE: Final[dict[str, Callable[[Any], str]]] = {
    "short": short,
    "nats": nats,
    "percent": percent,
    "signed": lambda value: signed(value, 2),
}


WRITERS: Final[Mapping[str, Callable[[float | None], str]]] = {
    "share": percent,
    "nats a response": nats,
}
"""How a metric is written whose unit asks for it; all others as `short` does."""


def _scientific(size: float, digits: int) -> str:
    mantissa, _, exponent = f"{size:.{max(0, digits - 2)}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
