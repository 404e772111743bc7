"""The alarms of PPO as functions of the whole history: the oracle of those that go step by step.

The code of the release before alarms were declared, with its own limits and its own lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Final

from rlhf.observe.numbers import finite, percent, short, signed

WINDOW: Final = 5
"""Steps averaged at either end, so that one odd batch raises nothing."""
KL_LIMIT: Final = 10.0
"""Nats a response."""
LENGTH_DRIFT: Final = 0.25
ENTROPY_DROP: Final = 0.5
EOS_FLOOR: Final = 0.9
VALUE_CLIP_LIMIT: Final = 0.5
VARIETY_DROP: Final = 0.3
SAMPLER_LIMIT: Final = 1e-3
"""Mean k3 a token between sampler and trainer; rounding in bf16 stays below."""
USELESS_STEPS: Final = 20
STILL_STEPS: Final = 10
STILL_KL: Final = 1e-6
"""Nats a token; a policy that learns has 1e-5 to 1e-2 a step."""
NEGATIVE_KL_STEPS: Final = 10
NEGATIVE_KL: Final = -0.05
"""Nats a response; above this it is the noise of an estimate around 0."""
JUMP_STEPS: Final = 10
JUMP_SPREADS: Final = 3.0
"""Standard deviations of the score within a batch."""

History = Sequence[Mapping[str, object]]


def named_alarms(history: History) -> dict[str, str]:
    """Return the alarms by name; the name stays the same while the values in the line move."""
    return {name: line for name, check in _CHECKS.items() for line in check(history)}


def _series(history: History, name: str) -> list[float]:
    values = (finite(metrics.get(name)) for metrics in history)
    return [value for value in values if value is not None]


def _ends(history: History, name: str) -> tuple[float, float] | None:
    """Return the mean of the first and of the last WINDOW steps; None before there are both."""
    series = _series(history, name)
    if len(series) < 2 * WINDOW:
        return None
    return fmean(series[:WINDOW]), fmean(series[-WINDOW:])


def _recent(history: History, name: str) -> float | None:
    series = _series(history, name)
    return fmean(series[-WINDOW:]) if len(series) >= WINDOW else None


def _far_from_reference(history: History) -> Iterator[str]:
    kl = _recent(history, "objective/kl")
    if kl is not None and kl > KL_LIMIT:
        yield (
            f"KL to the reference is {short(kl)} nats a response (above {KL_LIMIT:.0f}): the "
            "policy may be gaming the reward; raise ppo.kl_coef, set ppo.kl_target, or stop earlier"
        )


def _does_not_move(history: History) -> Iterator[str]:
    moves = _series(history, "policy/approxkl_avg")[-STILL_STEPS:]
    rates = _series(history, "lr")
    if len(moves) < STILL_STEPS or median(moves) >= STILL_KL:
        return
    if rates and fmean(rates[-STILL_STEPS:]) < max(rates) / 2:
        return  # The end of a falling schedule.
    at = f" (it is {rates[-1]:.2g})" if rates else ""
    yield (
        f"the policy does not move: for {STILL_STEPS} steps approximate KL was about "
        f"{median(moves):.1g} nats a token a step (below {STILL_KL:g}); raise policy.optimizer.lr"
        f"{at}, or look for scores that are all alike"
    )


def _length_drift(history: History) -> Iterator[str]:
    ends = _ends(history, "completions/mean_length")
    if ends and ends[0] > 0 and abs(ends[1] / ends[0] - 1) > LENGTH_DRIFT:
        yield (
            f"response length moved from {short(ends[0])} to {short(ends[1])} tokens "
            f"({signed(100 * (ends[1] / ends[0] - 1), 2)} %): the reward may pay for length; "
            "compare win rates at equal length, or balance the lengths in data.preferences"
        )


def _entropy_collapse(history: History) -> Iterator[str]:
    ends = _ends(history, "policy/entropy_avg")
    if ends and ends[0] > 0 and ends[1] < (1 - ENTROPY_DROP) * ends[0]:
        yield (
            f"entropy fell from {short(ends[0])} to {short(ends[1])} nats a token (over half): "
            "answers become alike; raise ppo.kl_coef or lower policy.optimizer.lr"
        )


def _cut_answers(history: History) -> Iterator[str]:
    rate = _recent(history, "completions/eos_rate")
    if rate is not None and rate < EOS_FLOOR:
        yield (
            f"only {percent(rate)} of responses end by themselves (below {percent(EOS_FLOOR)}); "
            "the rest are cut and scored unfinished; raise generation.max_new_tokens or "
            "ppo.missing_eos_penalty"
        )


def _less_variety(history: History) -> Iterator[str]:
    ends = _ends(history, "completions/distinct_2")
    if ends and ends[0] > 0 and ends[1] < (1 - VARIETY_DROP) * ends[0]:
        yield (
            f"distinct word pairs fell from {percent(ends[0])} to {percent(ends[1])}: answers "
            "repeat themselves or each other; read the samples, then raise ppo.kl_coef"
        )


def _sampler_differs(history: History) -> Iterator[str]:
    k3 = _recent(history, "sampling/k3_mean")
    if k3 is not None and k3 > SAMPLER_LIMIT:
        yield (
            f"sampler and trainer differ by {short(k3)} nats a token (above {SAMPLER_LIMIT:g}): "
            "the policy learns from tokens another one drew; set ppo.importance_cap=2, or "
            "engine.precision=fp32"
        )


def _value_is_useless(history: History) -> Iterator[str]:
    explained = _recent(history, "value/explained_variance")
    if explained is not None and len(history) >= USELESS_STEPS and explained < 0:
        yield (
            f"explained variance is {short(explained)} after {USELESS_STEPS} steps or more: the "
            "value role predicts worse than a constant would; raise value.optimizer.lr or "
            "ppo.value_warmup_steps"
        )


def _value_clipped(history: History) -> Iterator[str]:
    share = _recent(history, "value/clipfrac_avg")
    if share is not None and share > VALUE_CLIP_LIMIT:
        yield (
            f"{percent(share)} of value updates clipped (over {percent(VALUE_CLIP_LIMIT)}): the "
            "value role cannot follow the scores; raise ppo.value_clip_range or "
            "ppo.value_warmup_steps"
        )


def _negative_kl(history: History) -> Iterator[str]:
    tail = _series(history, "objective/kl")[-NEGATIVE_KL_STEPS:]
    if len(tail) == NEGATIVE_KL_STEPS and max(tail) < 0 and fmean(tail) < NEGATIVE_KL:
        yield (
            f"KL has been negative for {NEGATIVE_KL_STEPS} steps (mean {short(fmean(tail))} nats): "
            "sampler and training forward disagree; check sampling/logprob_difference_max, "
            "engine.precision and dropout"
        )


def _score_jump(history: History) -> Iterator[str]:
    scores = _series(history, "objective/scores")
    spreads = _series(history, "objective/scores_std")
    if len(scores) < 2 * WINDOW or not spreads:
        return
    spread = fmean(spreads[:WINDOW])
    gain, end = _steepest(scores)
    if spread > 0 and gain > JUMP_SPREADS * spread:
        yield (
            f"score rose by {short(gain)} in under {JUMP_STEPS} steps, to {short(end)} (one batch "
            f"spreads {short(spread)}): often a loophole found; read the samples, then fix the "
            "reward or raise ppo.kl_coef"
        )


def _steepest(scores: Sequence[float]) -> tuple[float, float]:
    """Return the largest rise of the 3-step mean in under JUMP_STEPS steps, and where it ended."""
    means = [fmean(scores[at : at + 3]) for at in range(len(scores) - 2)]
    rises = [
        (later - means[start], later)
        for start in range(len(means))
        for later in means[start + 1 : start + JUMP_STEPS]
    ]
    return max(rises)


_CHECKS: Final[dict[str, Callable[[History], Iterator[str]]]] = {
    "kl": _far_from_reference,
    "still": _does_not_move,
    "length": _length_drift,
    "entropy": _entropy_collapse,
    "eos": _cut_answers,
    "variety": _less_variety,
    "value_clip": _value_clipped,
    "value_useless": _value_is_useless,
    "sampler": _sampler_differs,
    "negative_kl": _negative_kl,
    "score_jump": _score_jump,
}
