"""Sums, means and whitening over the tokens that count, whatever stands at those that do not.

Every mask is a bool tensor of x's shape, true at real tokens. Padding is cut out by selection,
never by multiplication, because 0 * NaN is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Return x where the mask is true and 0 elsewhere; NaN and inf at padding vanish.

    Apply it before any arithmetic that is differentiated: the gradient of a later operation at
    a NaN would be NaN even if its result is cut out afterwards.
    """
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of x over the mask, a scalar."""
    return zero_padding(x, mask).sum()


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of x over the mask, a scalar; 0 where the mask is empty."""
    return masked_sum(x, mask) / mask.sum().clamp(min=1)


def masked_moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return (mean, biased variance) of x over the mask, two scalars; 0 where it is empty."""
    mean = masked_mean(x, mask)
    return mean, masked_mean((x - mean).square(), mask)


def masked_whiten(x: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """Shift and scale x to mean 0 and biased variance 1 over the mask; 0 at padding.

    The arithmetic is float64, so that a constant x becomes 0 and not magnified rounding.

    Args:
        x: Any float tensor.
        mask: Bool, x's shape.
        eps: Added to the variance.

    Returns:
        A tensor of x's shape and dtype.
    """
    wide = zero_padding(x, mask).double()
    mean, variance = masked_moments(wide, mask)
    return zero_padding((wide - mean) * (variance + eps).rsqrt(), mask).to(x.dtype)
