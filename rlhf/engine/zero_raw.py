"""DeepSpeed's errors about raw settings (engine.deepspeed), as one clear line.

Which keys may be set at all is checked earlier, without torch, by `rlhf/config/raw_deepspeed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from rlhf.config.engine import EngineConfig
from rlhf.engine.accelerator import import_deepspeed
from rlhf.engine.zero_config import Holding, zero_config
from rlhf.errors import ConfigError


def check_raw(config: EngineConfig) -> None:
    """Check the raw settings with DeepSpeed's own parser, before a process is started.

    Raises:
        ConfigError: one line for every unknown key and wrong value.
    """
    if not config.deepspeed:
        return
    deepspeed = import_deepspeed("cpu")
    problems: list[str] = []
    for section, value in config.deepspeed.items():
        alone = config.model_copy(update={"deepspeed": {section: value}})
        try:
            with blaming({section: value}):
                deepspeed.runtime.config.DeepSpeedConfig(zero_config(alone, Holding(stage=3)))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


@contextmanager
def blaming(raw: Mapping[str, Any]) -> Iterator[None]:
    """Raise a ConfigError about the raw settings when DeepSpeed refuses them, if there are any."""
    try:
        yield
    except (ValueError, TypeError, AssertionError) as error:
        if not raw:
            raise
        keys = ", ".join(f"engine.deepspeed.{key}" for key in raw)
        raise ConfigError("\n".join(f"{keys}{reason}" for reason in _reasons(error))) from error


def _reasons(error: Exception) -> list[str]:
    if not isinstance(error, ValidationError):
        return [f": DeepSpeed refuses it: {str(error).strip().splitlines()[0]}"]
    return [
        f".{'.'.join(map(str, detail['loc']))}={detail['input']}: DeepSpeed refuses it: "
        + ("no such key" if detail["type"] == "extra_forbidden" else detail["msg"])
        for detail in error.errors(include_url=False)
    ]
