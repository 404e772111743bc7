"""Every metric, declared once; a module of this folder is a table of docs/metrics.md."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from rlhf.catalog.metric import Metric

TABLES: Final[dict[str, tuple[Metric, ...]]] = {
    module.name: import_module(f"{__name__}.{module.name}").METRICS
    for module in iter_modules(__path__)
}
"""The metrics of each module, by its name."""

METRICS: Final = tuple(metric for table in TABLES.values() for metric in table)
