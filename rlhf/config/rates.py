"""Learning rates that were not given: what each role's is, by the weights that learn.

Adapters want about ten times the rate of whole weights: TRL's own commands for SFT and the reward
model have 2e-5 and 2e-4, 1e-5 and 1e-4; Schulman et al. 2025 ("LoRA Without Regret") measure a
factor of 10, for SFT as for reinforcement learning.
"""

from __future__ import annotations

from typing import Any, Final

from rlhf.catalog.stages import STAGES

LORA_FACTOR: Final = 10.0
"""What a rate for whole weights is multiplied by for adapters."""
LEARNERS: Final = tuple(section for stage in STAGES for section in stage.optimizers)
"""Sections with an optimizer."""


def rate(default: float, method: object) -> float:
    """Return the learning rate for a peft.method, where all weights would take the default."""
    return float(f"{default * LORA_FACTOR:.6g}") if method == "lora" else default


def fill_rates(mapping: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Put a rate that fits peft.method wherever a configuration gives none; a given one stays.

    Args:
        mapping: The configuration, changed in place.
        defaults: The whole configuration as it is when nothing is given.
    """
    peft: object = mapping.get("peft")
    method: object = peft.get("method") if isinstance(peft, dict) else None
    for name in LEARNERS:
        whole = defaults[name]["optimizer"]
        section = mapping.setdefault(name, {})
        if not isinstance(section, dict):
            continue
        given = section.setdefault("optimizer", dict(whole, lr=None))
        if isinstance(given, dict) and given.get("lr") is None:
            given["lr"] = rate(whole["lr"], method)
