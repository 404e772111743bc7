"""RLHF end to end: SFT, reward model and PPO as Ray actors over DeepSpeed engines.

For notebooks and scripts (docs/python_api.md): `load_config`, `run`, `steps` and `read_run`, the
records they give, and every error. Nothing is imported before it is used, torch least of all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlhf.api import Config, RunRecord, Step, load_config, read_run, run, steps
    from rlhf.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        ModelError,
        RLHFError,
        TrainingError,
        WorkerError,
    )

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "Config",
    "ConfigError",
    "DataError",
    "ModelError",
    "RLHFError",
    "RunRecord",
    "Step",
    "TrainingError",
    "WorkerError",
    "__version__",
    "load_config",
    "read_run",
    "run",
    "steps",
]


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "rlhf.errors" if name.endswith("Error") else "rlhf.api"
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    """Return what is offered, for completion in notebooks."""
    return sorted({*globals(), *__all__})
