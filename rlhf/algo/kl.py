"""KL(policy || reference): its estimates from samples, and what sets the price of it.

The estimators are those of Schulman, "Approximating KL divergence" (2020), for tokens drawn from
the policy. Only k1 belongs in the reward: it alone gives the unbiased gradient of the penalised
objective. It is not clamped, since a clamp would move the optimum silently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from rlhf.errors import TrainingError

MOST_CHANGE = 0.2
"""Bound on the relative error that the adaptive controller acts on."""


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return log(policy / reference) a token, in nats: unbiased, may be negative."""
    return logprobs - ref_logprobs


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return k1^2 / 2 a token, in nats: never negative, biased, low variance."""
    return 0.5 * kl_k1(logprobs, ref_logprobs).square()


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return exp(-k1) - 1 + k1 a token, in nats: never negative and unbiased."""
    k1 = kl_k1(logprobs, ref_logprobs)
    return torch.expm1(-k1) + k1


class KLController(Protocol):
    """Gives the KL coefficient of the reward, and learns from each step's KL."""

    @property
    def coef(self) -> float:
        """Price of one nat of KL, in score units."""
        ...

    def observe(self, kl: float, num_responses: int) -> None:
        """Take in the step's KL: summed over a response's tokens, mean over responses."""
        ...

    def state(self) -> dict[str, float]:
        """Return what a checkpoint must keep."""
        ...

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from a kept state."""
        ...


class FixedKL:
    """A constant coefficient."""

    def __init__(self, coef: float) -> None:
        """Hold the coefficient."""
        self.coef = coef

    def observe(self, kl: float, num_responses: int) -> None:
        """Change nothing."""

    def state(self) -> dict[str, float]:
        """Return the coefficient."""
        return {"coef": self.coef}

    def load(self, state: Mapping[str, float]) -> None:
        """Take the kept coefficient."""
        self.coef = state["coef"]


class AdaptiveKL:
    """Proportional control of the coefficient towards a KL (Ziegler et al. 2019, section 2.2).

    Each step: e = clip(kl / target - 1, -0.2, 0.2); coef *= 1 + e * num_responses / horizon.
    """

    def __init__(self, coef: float, target: float, horizon: int) -> None:
        """Start at a coefficient.

        Args:
            coef: First value, in score units a nat.
            target: Nats a response to steer towards.
            horizon: Responses over which the coefficient moves.
        """
        self.coef = coef
        self._target = target
        self._horizon = horizon

    def observe(self, kl: float, num_responses: int) -> None:
        """Raise the coefficient when KL is above the target, lower it when below.

        Raises:
            TrainingError: when the KL is not finite.
        """
        if not math.isfinite(kl):
            raise TrainingError(
                f"kl={kl} was observed; the adaptive coefficient needs a finite KL; "
                "look for the first NaN in the policy's logprobs"
            )
        error = max(-MOST_CHANGE, min(MOST_CHANGE, kl / self._target - 1))
        self.coef *= 1 + error * num_responses / self._horizon

    def state(self) -> dict[str, float]:
        """Return the coefficient."""
        return {"coef": self.coef}

    def load(self, state: Mapping[str, float]) -> None:
        """Take the kept coefficient."""
        self.coef = state["coef"]
