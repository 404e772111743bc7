"""Health: the alarms of a stage, raised step by step in words a person can act on.

Which there are is declared with the metrics (`rlhf/catalog/metrics/`). The signs are those of
Stiennon et al. 2020, Gao et al. 2022 and Huang et al. 2024: too far from the reference, answers
that grow or collapse, a value role that cannot follow, a score that jumps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from rlhf.catalog.declared import alarms_of
from rlhf.errors import TrainingError
from rlhf.observe.numbers import filled, finite, short

STEPS_TOO_FAR: Final = 3
"""Steps in a row with a KL above sweep.max_kl, after which a trial is cut."""
KL: Final = "objective/kl"


class Health:
    """The alarms of one stage; a step costs the same however many went before it."""

    def __init__(self, stage: str, earlier: Iterable[Mapping[str, object]] = ()) -> None:
        """Begin with the steps that were recorded before, oldest first."""
        self._watched = [(alarm, alarm.sign(metric)) for metric, alarm in alarms_of(stage)]
        for step in earlier:
            self.see(step)

    def see(self, step: Mapping[str, object]) -> None:
        """Look at the metrics of the next step; a missing, null or infinite one is skipped."""
        known = {name: v for name, value in step.items() if (v := finite(value)) is not None}
        for _, sign in self._watched:
            sign.see(known)

    def after(self, step: Mapping[str, object]) -> dict[str, str]:
        """Look at the next step, and return the alarms that stand after it."""
        self.see(step)
        return self.alarms()

    def alarms(self) -> dict[str, str]:
        """Return the line of each alarm that stands after the steps seen so far, by its name.

        The name stays the same while the values in the line move.
        """
        found = ((alarm, sign.found()) for alarm, sign in self._watched)
        return {alarm.name: filled(alarm.says, values) for alarm, values in found if values}


class KLLimit:
    """Whether the last steps of PPO are all above sweep.max_kl."""

    def __init__(self, max_kl: float | None, earlier: Iterable[Mapping[str, object]] = ()) -> None:
        """Begin with the steps that were recorded before.

        Args:
            max_kl: nats a response; None for no limit.
            earlier: the metrics of each step, oldest first.
        """
        self._max_kl, self._steps = max_kl, 0
        self._last: deque[float] = deque(maxlen=STEPS_TOO_FAR)
        for step in earlier:
            self.see(step)

    def see(self, step: Mapping[str, object]) -> None:
        """Look at the metrics of the next step."""
        self._steps += 1
        kl = finite(step.get(KL))
        if kl is not None:
            self._last.append(kl)

    def passed(self) -> str | None:
        """Return "at step N: KL x" if the last steps are all above the limit; else None."""
        is_full = len(self._last) == STEPS_TOO_FAR
        if self._max_kl is None or not is_full or min(self._last) <= self._max_kl:
            return None
        return f"at step {self._steps}: KL {short(self._last[-1])}"

    def check(self, step: Mapping[str, object]) -> None:
        """Look at the next step.

        Raises:
            TrainingError: when it is the last of several that are all above the limit.
        """
        self.see(step)
        if (passed := self.passed()) is not None:
            raise TrainingError(
                f"cut {passed} nats a response, step {STEPS_TOO_FAR} in a row above "
                f"sweep.max_kl={self._max_kl:g}; raise ppo.kl_coef, lower policy.optimizer.lr, or "
                "raise sweep.max_kl"
            )
