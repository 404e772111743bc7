"""The ways to estimate how much better a response was than expected, by their config names.

A new one is a function from Episodes to advantages_BR under the `estimator` decorator.
Axes: B responses, R response slots, right-padded. Advantages are not whitened here; that is done
over the whole batch afterwards, by whoever holds it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor

from rlhf.algo import advantages
from rlhf.algo.masking import zero_padding
from rlhf.errors import ConfigError, TrainingError, described
from rlhf.plugin import load

STD_FLOOR = 1e-6
"""Added to a group's standard deviation; verl's value (TRL adds 1e-4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Episodes:
    """The inputs of an estimator. Values at padding must not matter to it."""

    rewards_BR: Tensor
    """Shaped reward a token: the score on the last one, less the price of KL; 0 at padding."""
    values_BR: Tensor
    """Return expected before each token is generated; zeros when there is no value role."""
    mask_BR: Tensor
    """Bool, true at real tokens; at least one a row."""
    group_B: Tensor
    """Int64: responses to the same prompt share a number, in any order and any count."""
    discount: float
    """Gamma, a token."""
    gae_lambda: float
    """Lambda of generalised advantage estimation."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A way to estimate advantages, and what it needs."""

    function: Callable[[Episodes], Tensor]
    """Returns advantages_BR in the rewards' dtype, 0 at padding."""
    reads_values: bool
    """Whether it is any use without a value role."""
    min_samples: int
    """Fewest responses a prompt from which it can learn."""


ESTIMATORS: dict[str, Estimator] = {}
"""Those that come with this, by name, in the order messages list them."""
_MARK: Final = "__estimator__"


def estimator(
    *, reads_values: bool, min_samples: int
) -> Callable[[Callable[[Episodes], Tensor]], Callable[[Episodes], Tensor]]:
    """Mark a function as an estimator; those of this file are entered into ESTIMATORS.

    Args:
        reads_values: Whether it needs a value role.
        min_samples: Fewest responses a prompt.
    """

    def enter(function: Callable[[Episodes], Tensor]) -> Callable[[Episodes], Tensor]:
        marked = Estimator(function, reads_values, min_samples)
        setattr(function, _MARK, marked)
        if function.__module__ == __name__:
            ESTIMATORS[function.__name__] = marked
        return function

    return enter


def find_estimator(name: str) -> Estimator:
    """Return the estimator of that name.

    Args:
        name: One of ESTIMATORS, or FILE.py:NAME for one of the user's own.

    Raises:
        ConfigError: when there is none.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    for file in estimator_files(name):
        return _of_file(name, file.absolute(), file.stat().st_mtime_ns if file.is_file() else 0)
    near = difflib.get_close_matches(name, ESTIMATORS, n=1, cutoff=0.4)
    hint = f"; nearest: {near[0]}" if near else ""
    raise ConfigError(
        f"ppo.advantage_estimator={name}: should be one of {', '.join(ESTIMATORS)}, or "
        f"FILE.py:NAME{hint}"
    )


def estimator_files(name: str) -> list[Path]:
    """Return the file of an estimator of the user's own; none for those that come with this."""
    return [Path(name.rpartition(":")[0])] if ".py:" in name else []


@cache
def _of_file(spec: str, file: Path, changed_ns: int) -> Estimator:
    """Run the user's file once, and check at every call what its function gives.

    Args:
        spec: FILE.py:NAME.
        file: Its whole path, for specs of one name in two folders.
        changed_ns: When it was last written, for a file that is edited while this process lives.
    """
    function = load(spec, "ppo.advantage_estimator")
    marked: Estimator | None = getattr(function, _MARK, None)
    if marked is None:
        raise ConfigError(
            f"ppo.advantage_estimator {spec} is not marked; write "
            "@estimator(reads_values=False, min_samples=1) of rlhf.algo.estimators above it"
        )

    def checked(episodes: Episodes) -> Tensor:
        try:
            advantages_BR = cast("object", marked.function(episodes))
        except (Exception, SystemExit) as error:
            raise TrainingError(f"ppo.advantage_estimator {spec}: {described(error)}") from error
        wanted = episodes.rewards_BR
        if not isinstance(advantages_BR, Tensor) or advantages_BR.shape != wanted.shape:
            shape = getattr(advantages_BR, "shape", type(advantages_BR).__name__)
            raise TrainingError(
                f"ppo.advantage_estimator {spec} gave {shape}; it must return a tensor of "
                f"{tuple(wanted.shape)}, an advantage a response token"
            )
        if not advantages_BR[episodes.mask_BR].isfinite().all():
            raise TrainingError(
                f"ppo.advantage_estimator {spec} gave numbers that are not finite; look for a "
                "division by a deviation or a count that may be 0"
            )
        return zero_padding(advantages_BR.to(wanted.dtype), episodes.mask_BR)

    return replace(marked, function=checked)


@estimator(reads_values=True, min_samples=1)
def gae(episodes: Episodes) -> Tensor:
    """Return generalised advantages (Schulman et al. 2016, eq. 16)."""
    return advantages.gae(
        episodes.rewards_BR,
        episodes.values_BR,
        episodes.mask_BR,
        episodes.discount,
        episodes.gae_lambda,
    )


@estimator(reads_values=False, min_samples=1)
def reinforce_pp(episodes: Episodes) -> Tensor:
    """Return the discounted rewards still to come at each token (REINFORCE++, Hu 2025).

    There is no baseline: the paper's one is the mean of the global batch, which whitening takes
    off. It is GAE with lambda 1 and values of 0.
    """
    no_values_BR = torch.zeros_like(episodes.rewards_BR)
    return advantages.gae(
        episodes.rewards_BR, no_values_BR, episodes.mask_BR, episodes.discount, 1.0
    )


@estimator(reads_values=False, min_samples=2)
def rloo(episodes: Episodes) -> Tensor:
    """Return each return less the mean of the others' of its group (Ahmadian et al. 2024).

    The others' mean owes nothing to the response itself, so the gradient is unbiased. A response
    without others learns nothing: its advantage is 0.
    """
    gap_B, size_B, _ = _against_group(episodes)
    return _on_every_token(gap_B * size_B / (size_B - 1).clamp(min=1), episodes)


@estimator(reads_values=False, min_samples=2)
def grpo(episodes: Episodes) -> Tensor:
    """Return (return - group mean) / (group std + 1e-6) (Shao et al. 2024, section 4.1.2).

    The std is the unbiased one, as in verl (floor 1e-6) and TRL (floor 1e-4); the paper does not
    say which and has no floor. The paper puts KL in the loss; here its price is in the return. A
    response without others has advantage 0, where verl would hand on its raw return.
    """
    gap_B, _, std_B = _against_group(episodes)
    return _on_every_token(gap_B / (std_B + STD_FLOOR), episodes)


@estimator(reads_values=False, min_samples=2)
def dr_grpo(episodes: Episodes) -> Tensor:
    """Return each return less its group's mean (Dr. GRPO, Liu et al. 2025, section 3.2).

    Dividing by the std would weigh prompts that are nearly always, or never, answered well above
    the rest.
    """
    return _on_every_token(_against_group(episodes)[0], episodes)


def _against_group(episodes: Episodes) -> tuple[Tensor, Tensor, Tensor]:
    """Return (return - group mean, group size, unbiased group std), each of B float64 numbers.

    A response is one decision here, so its return is the plain sum of its rewards, undiscounted.
    The std of a group of one is 0.
    """
    return_B = zero_padding(episodes.rewards_BR, episodes.mask_BR).double().sum(dim=1)
    groups, place_B = episodes.group_B.unique(return_inverse=True)

    def total(x_B: Tensor) -> Tensor:
        return x_B.new_zeros(len(groups)).index_add_(0, place_B, x_B)[place_B]

    size_B = total(torch.ones_like(return_B))
    gap_B = return_B - total(return_B) / size_B
    variance_B = total(gap_B.square()) / (size_B - 1).clamp(min=1)
    return gap_B, size_B, variance_B.sqrt()


def _on_every_token(advantage_B: Tensor, episodes: Episodes) -> Tensor:
    advantage_B1 = advantage_B.to(episodes.rewards_BR.dtype)[:, None]
    return zero_padding(advantage_B1.expand_as(episodes.rewards_BR), episodes.mask_BR)
