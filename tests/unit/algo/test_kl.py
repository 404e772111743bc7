"""KL estimators and controllers."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf.algo.kl import AdaptiveKL, FixedKL, KLController, kl_k1, kl_k2, kl_k3
from rlhf.errors import TrainingError


@pytest.mark.parametrize(
    ("shift", "k2_bias", "spreads"), [(0.1, 0.002, (20, 1.42, 1.42)), (1.0, 0.25, (2, 1.74, 1.68))]
)
def test_estimators_have_the_published_bias_and_spread(
    shift: float, k2_bias: float, spreads: tuple[float, float, float]
) -> None:
    # correctness 33: Monte Carlo on N(0, 1) against N(shift, 1).
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2_000_000, generator=generator, dtype=torch.float64)
    logprobs, ref_logprobs = -0.5 * x**2, -0.5 * (x - shift) ** 2
    true_kl = shift**2 / 2
    biases = (0.0, k2_bias, 0.0)
    for estimate, bias, spread in zip((kl_k1, kl_k2, kl_k3), biases, spreads, strict=True):
        k = estimate(logprobs, ref_logprobs)
        noise = 4 * spread / math.sqrt(len(x))
        assert abs(k.mean().item() / true_kl - 1 - bias) < noise + 1e-3
        assert k.std().item() / true_kl == pytest.approx(spread, rel=0.03)


def test_k3_and_k2_are_never_negative_and_k1_may_be() -> None:
    # correctness 33
    k1 = torch.linspace(-20, 20, 4001)
    zero = torch.zeros(())
    assert kl_k1(k1, zero).min() == -20
    assert kl_k2(k1, zero).min() >= 0
    assert kl_k3(k1, zero).min() >= 0
    assert kl_k3(zero, zero) == 0
    tiny = kl_k3(torch.tensor(1e-4), zero).item()
    assert tiny == pytest.approx(0.5e-8, rel=0.2), "cancellation must not eat small values"


@pytest.mark.parametrize("k1", [-30.0, -10.5, 10.5, 30.0])
def test_k1_is_not_clamped(k1: float) -> None:
    # correctness 34
    assert kl_k1(torch.tensor(k1), torch.tensor(0.0)).item() == k1


def test_the_coefficient_rests_at_the_target() -> None:
    # correctness 35: fixed point.
    controller = AdaptiveKL(0.15, 6.0, 10_000)
    controller.observe(6.0, 512)
    assert controller.coef == 0.15


@pytest.mark.parametrize("kl", [-50.0, 0.0, 3.0, 5.9, 6.1, 9.0, 1e6])
def test_the_multiplier_is_bounded_and_points_the_right_way(kl: float) -> None:
    # correctness 35: within 1 +- 0.2 * B / horizon.
    controller = AdaptiveKL(0.15, 6.0, 10_000)
    controller.observe(kl, 512)
    multiplier = controller.coef / 0.15
    assert abs(multiplier - 1) <= 0.2 * 512 / 10_000 + 1e-12
    assert (multiplier > 1) == (kl > 6)


@pytest.mark.parametrize("kl", [math.nan, math.inf])
def test_a_kl_that_is_not_finite_is_an_error(kl: float) -> None:
    with pytest.raises(TrainingError, match="finite"):
        AdaptiveKL(0.15, 6.0, 10_000).observe(kl, 512)


def test_a_fixed_coefficient_stays() -> None:
    controller = FixedKL(0.05)
    controller.observe(100.0, 512)
    assert controller.coef == 0.05


def test_a_kept_state_goes_on_where_it_was() -> None:
    # correctness 66: the coefficient is in the checkpoint.
    first = AdaptiveKL(0.15, 6.0, 10_000)
    first.observe(12.0, 512)
    fresh: list[KLController] = [AdaptiveKL(0.15, 6.0, 10_000), FixedKL(0.15)]
    for controller in fresh:
        controller.load(first.state())
        assert controller.coef == first.coef
        assert controller.state() == first.state()
