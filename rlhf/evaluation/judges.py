"""The judge of an evaluation: a function in a process of its own, which training never saw."""

from __future__ import annotations

from rlhf.errors import ConfigError
from rlhf.plugin import PACKAGED, is_function
from rlhf.rewards.process import RewardProcess


def load_judge(spec: str, timeout_s: float) -> RewardProcess:
    """Return the judge FILE.py:NAME; packaged:NAME is what that example calls `rating`.

    Args:
        spec: Which.
        timeout_s: Longest that it may take to load, or for a call.

    Raises:
        ConfigError: when it is neither, or does not load.
        DataError: when what it is made from cannot be read.
    """
    if not is_function(spec):
        raise ConfigError(f"evaluation.judge={spec} is neither FILE.py:NAME nor {PACKAGED}NAME")
    short = spec.startswith(PACKAGED) and "/" not in spec
    return RewardProcess(f"{spec}/rating" if short else spec, timeout_s)
