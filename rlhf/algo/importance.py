"""What a token drawn by another policy is worth to this one.

Axes: B responses, R response slots, right-padded.
"""

from __future__ import annotations

from torch import Tensor

from rlhf.algo.masking import zero_padding


def truncated_importance(
    logprobs_BR: Tensor, sampling_logprobs_BR: Tensor, mask_BR: Tensor, cap: float
) -> Tensor:
    """Return weight_BR = min(policy / sampler, cap), 0 at padding, without gradient.

    The cap bounds the variance and biases towards the sampler (Espeholt et al. 2018, eq. 1, rho;
    token by token in "TIS", Yao et al. 2025). Exactly 1 where both logprobs are the same number,
    if the cap is at least 1.

    Args:
        logprobs_BR: By the policy that is to learn, before the step's update.
        sampling_logprobs_BR: By whoever drew the tokens.
        mask_BR: Bool.
        cap: Largest weight.
    """
    log_ratio_BR = zero_padding(logprobs_BR.detach() - sampling_logprobs_BR.detach(), mask_BR)
    return zero_padding(log_ratio_BR.exp().clamp(max=cap), mask_BR)
