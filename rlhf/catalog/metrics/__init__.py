"""Every metric, declared once; a module each for the tables of docs/metrics.md."""

from typing import Final

from rlhf.catalog.metric import Metric
from rlhf.catalog.metrics import (
    objective,
    policy,
    responses,
    reward_model,
    sft,
    time,
    value,
)

TABLES: Final[dict[str, tuple[Metric, ...]]] = {
    "sft": sft.METRICS,
    "reward_model": reward_model.METRICS,
    "objective": objective.METRICS,
    "responses": responses.METRICS,
    "value": value.METRICS,
    "policy": policy.METRICS,
    "time": time.METRICS,
}
"""The metrics of each module, by its name, in the order of docs/metrics.md."""

METRICS: Final = tuple(metric for table in TABLES.values() for metric in table)
