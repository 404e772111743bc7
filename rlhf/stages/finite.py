"""Whether all that PPO learns from are numbers: the role, row and token of what is none.

Axes: B rows, C sources of the reward, R response tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from rlhf.errors import TrainingError
from rlhf.flow.rollout import Rollout, Scores

EXCERPT = 60
"""Characters of a prompt that a message shows."""


def check_finite(rollout: Rollout, scores: Scores, sources: Sequence[str], step: int) -> None:
    """Check every role's numbers at all response tokens, before any is learned from.

    Args:
        rollout: The prompts and responses.
        scores: What the roles said of them.
        sources: Names of the reward's sources, in the order of the scores.
        step: The step's number, for the message.

    Raises:
        TrainingError: a line for each role that gave NaN or infinity: how many responses, and of
            the first of them the number, the token and the prompt.
    """
    faults = [fault for fault in _faults(rollout, scores, sources) if fault is not None]
    if faults:
        raise TrainingError(
            "\n".join([f"PPO step {step}: {fault}" for fault in faults])
            + "\nnothing was learned from this step; lower that role's learning rate, or set "
            "engine.precision=fp32"
        )


def _faults(rollout: Rollout, scores: Scores, sources: Sequence[str]) -> Iterator[str | None]:
    by_token = {
        "sampler: log-probabilities": rollout.sampling_logprobs_BR,
        "policy: log-probabilities": scores.logprobs_BR,
        "reference: log-probabilities": scores.ref_logprobs_BR,
        "value: values": scores.values_BR,
    }
    for what, numbers_BR in by_token.items():
        yield _fault(what, numbers_BR, rollout, rollout.response_mask_BR)
    for name, score_B in zip(sources, scores.parts_BC.T, strict=True):
        yield _fault(f"reward {name}: scores", score_B[:, None], rollout)


def _fault(
    what: str, numbers_BN: Tensor, rollout: Rollout, mask_BN: Tensor | None = None
) -> str | None:
    bad_BN = ~numbers_BN.isfinite()
    if mask_BN is not None:
        bad_BN &= mask_BN
    rows = bad_BN.any(1).nonzero().flatten().tolist()
    if not rows:
        return None
    row, token = rows[0], int(bad_BN[rows[0]].nonzero()[0])
    place = f" at response token {token}" if mask_BN is not None else ""
    prompt = " ".join(str(rollout.prompts[row]).split())[:EXCERPT]
    return (
        f"{what} of {len(rows)} of {len(rollout)} responses are not finite, first "
        f"{float(numbers_BN[row, token])} in row {row}{place} (prompt {prompt!r})"
    )
