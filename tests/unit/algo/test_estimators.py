"""Every way to estimate advantages: what they share, each one's properties, numbers by hand."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rlhf.algo import advantages
from rlhf.algo.estimators import ESTIMATORS, Episodes, estimator_files, find_estimator
from rlhf.algo.masking import masked_whiten
from rlhf.errors import ConfigError, TrainingError
from rlhf.flow.tensors import length_mask

LENGTHS = torch.tensor([6, 1, 4, 2, 5, 3, 6, 2])
GROUPS = torch.tensor([7, 2, 7, 2, 9, 7, 2, 4])
"""Three responses to prompt 7, three to 2, and one each to 9 and 4, all mixed."""
GROUPED = ["rloo", "grpo", "dr_grpo"]


def episodes(dtype: torch.dtype = torch.float64) -> Episodes:
    generator = torch.Generator().manual_seed(5)
    rewards, values = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64).to(dtype)
    mask = length_mask(LENGTHS, 6)
    return Episodes(
        rewards_BR=torch.where(mask, rewards, 0.0),
        values_BR=values,
        mask_BR=mask,
        group_B=GROUPS,
        discount=0.99,
        gae_lambda=0.95,
    )


def of_returns(returns: list[float], groups: list[int]) -> Episodes:
    """One response a return, each of three tokens with unequal rewards."""
    return_B = torch.tensor(returns, dtype=torch.float64)
    parts = torch.tensor([0.5, -0.25, 0.75], dtype=torch.float64)
    rewards = return_B[:, None] * parts
    return replace(
        episodes(),
        rewards_BR=rewards,
        values_BR=torch.zeros_like(rewards),
        mask_BR=torch.ones_like(rewards, dtype=torch.bool),
        group_B=torch.tensor(groups),
    )


def estimate(name: str, given: Episodes) -> Tensor:
    return find_estimator(name).function(given)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e9])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_padding_never_enters(name: str, poison: float) -> None:
    # correctness 37: bit for bit, for every estimator; 0 at padding.
    clean = episodes()
    dirty = replace(
        clean,
        rewards_BR=torch.where(clean.mask_BR, clean.rewards_BR, poison),
        values_BR=torch.where(clean.mask_BR, clean.values_BR, poison),
    )
    found = estimate(name, clean)
    assert torch.equal(estimate(name, dirty), found)
    assert torch.all(found[~clean.mask_BR] == 0)
    assert found[clean.mask_BR].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_precision_of_the_rewards_is_kept(name: str, dtype: torch.dtype) -> None:
    found = estimate(name, episodes(dtype))
    assert found.dtype == dtype
    assert torch.allclose(found.double(), estimate(name, episodes()), atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_order_of_rows_and_the_numbers_of_groups_mean_nothing(name: str) -> None:
    given, order = episodes(), torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    moved = replace(
        given,
        rewards_BR=given.rewards_BR[order],
        values_BR=given.values_BR[order],
        mask_BR=given.mask_BR[order],
        group_B=100 - 3 * GROUPS[order],
    )
    assert torch.allclose(estimate(name, moved), estimate(name, given)[order], rtol=1e-12)


@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if not e.reads_values])
def test_who_does_not_read_values_does_not(name: str) -> None:
    given = episodes()
    blind = replace(given, values_BR=torch.full_like(given.values_BR, math.nan))
    assert torch.equal(estimate(name, blind), estimate(name, given))


def test_gae_is_the_paper_s_and_reads_values() -> None:
    # correctness 36
    given = episodes()
    expected = advantages.gae(given.rewards_BR, given.values_BR, given.mask_BR, 0.99, 0.95)
    assert torch.equal(estimate("gae", given), expected)
    assert [name for name, entry in ESTIMATORS.items() if entry.reads_values] == ["gae"]


def test_reinforce_pp_is_the_discounted_reward_to_go() -> None:
    given = episodes()
    found = estimate("reinforce_pp", given)
    for row, length in enumerate(LENGTHS.tolist()):
        rewards = given.rewards_BR[row, :length].tolist()
        for t in range(length):
            to_go = sum(0.99 ** (s - t) * rewards[s] for s in range(t, length))
            assert found[row, t].item() == pytest.approx(to_go, abs=1e-12)


def test_the_group_estimators_by_hand() -> None:
    # correctness 42: returns 1, 4, 7 of one prompt and 10, 20 of another.
    given = of_returns([1.0, 10.0, 4.0, 7.0, 20.0], [3, 8, 3, 3, 8])
    expected = {
        "rloo": [1 - 5.5, 10 - 20, 4 - 4, 7 - 2.5, 20 - 10],
        "dr_grpo": [-3.0, -5.0, 0.0, 3.0, 5.0],
        "grpo": [-1.0, -math.sqrt(0.5), 0.0, 1.0, math.sqrt(0.5)],
    }
    for name, advantage_B in expected.items():
        found = estimate(name, given)
        assert found[:, 0].tolist() == pytest.approx(advantage_B, abs=1e-6), name
        assert torch.equal(found, found[:, :1].expand(5, 3)), "the same on every token"


def test_the_group_estimators_against_formulas_written_out() -> None:
    # correctness 42: ragged rows and groups, undiscounted, the unbiased std.
    given = episodes()
    returns = [sum(r[:n]) for r, n in zip(given.rewards_BR.tolist(), LENGTHS.tolist(), strict=True)]
    for row, group in enumerate(GROUPS.tolist()):
        others = [returns[i] for i in range(8) if GROUPS[i] == group and i != row]
        if not others:
            continue
        members = [*others, returns[row]]
        gap = returns[row] - statistics.mean(members)
        expected = {
            "rloo": returns[row] - statistics.mean(others),
            "dr_grpo": gap,
            "grpo": gap / (statistics.stdev(members) + 1e-6),
        }
        for name, advantage in expected.items():
            assert estimate(name, given)[row, 0].item() == pytest.approx(advantage, rel=1e-10), name


@pytest.mark.parametrize("name", GROUPED)
def test_group_advantages_sum_to_0(name: str) -> None:
    # correctness 42: RLOO (and the others) over each group of responses.
    found = estimate(name, episodes())[:, 0]
    for group in GROUPS.unique():
        assert abs(found[group == GROUPS].sum().item()) < 1e-12


@pytest.mark.parametrize("name", GROUPED)
def test_a_response_without_others_learns_nothing(name: str) -> None:
    found = estimate(name, episodes())
    assert torch.all(found[4] == 0)
    assert torch.all(found[7] == 0)
    assert found.isfinite().all()
    assert find_estimator(name).min_samples == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GROUPED)
def test_equal_returns_teach_nothing(name: str, dtype: torch.dtype) -> None:
    # The mean of equal numbers may be off by rounding, which a std near 0 would magnify.
    for score in (0.1, 0.7, 123.4):
        given = of_returns([score] * 7, [0] * 7)
        found = estimate(name, replace(given, rewards_BR=given.rewards_BR.to(dtype)))
        assert found.abs().max() < 1e-6


@pytest.mark.parametrize("name", GROUPED)
def test_a_bonus_for_a_whole_prompt_changes_nothing(name: str) -> None:
    # correctness 42: the baseline takes off what all responses to a prompt share.
    given = of_returns([1.0, 4.0, 7.0, 2.0, 9.0], [0, 0, 0, 1, 1])
    richer = of_returns([51.0, 54.0, 57.0, -28.0, -21.0], [0, 0, 0, 1, 1])
    assert torch.allclose(estimate(name, richer), estimate(name, given), atol=1e-10)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_scaled_rewards_scale_the_advantages_except_grpo_s(name: str) -> None:
    # correctness 41: rewards * c and values * c leave whitened advantages as they are.
    given = episodes()
    tenfold = replace(given, rewards_BR=10 * given.rewards_BR, values_BR=10 * given.values_BR)
    before, after = estimate(name, given), estimate(name, tenfold)
    factor = 1.0 if name == "grpo" else 10.0
    assert torch.allclose(after, factor * before, rtol=1e-5)
    plain, scaled = (masked_whiten(x, given.mask_BR) for x in (before, after))
    assert torch.allclose(plain, scaled, atol=1e-5)


def test_rloo_is_dr_grpo_times_n_over_n_less_1() -> None:
    # correctness 42: both are unbiased up to that factor.
    size = torch.tensor([(group == GROUPS).sum() for group in GROUPS]).double()[:, None]
    found, centered = (estimate(name, episodes()) for name in ("rloo", "dr_grpo"))
    assert torch.allclose(found, centered * size / (size - 1).clamp(min=1), rtol=1e-12)


def test_a_wrong_name_gets_the_legal_ones_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as told:
        find_estimator("grop")
    assert str(told.value) == (
        f"ppo.advantage_estimator=grop: should be one of {', '.join(ESTIMATORS)}, or FILE.py:NAME; "
        "nearest: grpo"
    )
    with pytest.raises(ConfigError, match=r", or FILE.py:NAME$"):
        find_estimator("zzz")


MINE = """
import torch
from rlhf.algo.estimators import estimator
from rlhf.algo.masking import zero_padding

@estimator(reads_values=False, min_samples=3)
def median(episodes):
    return_B = zero_padding(episodes.rewards_BR, episodes.mask_BR).sum(dim=1)
    gap_B = torch.zeros_like(return_B)
    for group in episodes.group_B.unique():
        members = episodes.group_B == group
        gap_B[members] = return_B[members] - return_B[members].median()
    return gap_B[:, None].expand_as(episodes.rewards_BR)

@estimator(reads_values=True, min_samples=1)
def gae(episodes):
    return episodes.values_BR[:, :1]

@estimator(reads_values=False, min_samples=1)
def broken(episodes):
    return episodes.rewards_BR / 0

@estimator(reads_values=False, min_samples=1)
def raises(episodes):
    return episodes.rewards

@estimator(reads_values=False, min_samples=1)
def leaves(episodes):
    raise SystemExit(0)

def plain(episodes):
    return episodes.rewards_BR
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_one_of_the_users_own_is_found_by_its_file(mine: str) -> None:
    found, names = find_estimator(f"{mine}:median"), set(ESTIMATORS)
    assert (found.reads_values, found.min_samples) == (False, 3)
    given = of_returns([1.0, 4.0, 2.0, 9.0, 9.0, 3.0], [0, 0, 0, 1, 1, 1])
    assert found.function(given)[:, 0].tolist() == [-1.0, 2.0, 0.0, 0.0, 0.0, -6.0]
    assert not found.function(episodes())[~episodes().mask_BR].any(), "padding is cleared for it"
    assert set(ESTIMATORS) == names
    assert find_estimator("gae").function is not find_estimator(f"{mine}:gae").function
    assert estimator_files(f"{mine}:median") == [Path(mine)]
    assert estimator_files("gae") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gae", r"mine.py:gae gave torch.Size\(\[8, 1\]\); it must return a tensor of \(8, 6\)"),
        ("broken", "not finite"),
        ("leaves", "SystemExit: 0"),
        ("raises", "AttributeError: 'Episodes' object has no attribute 'rewards'"),
    ],
)
def test_what_it_gives_is_checked_at_every_call(mine: str, name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        find_estimator(f"{mine}:{name}").function(episodes())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plain", "is not marked; write @estimator"),
        ("medain", "nearest: median"),
        ("nowhere", "defines no nowhere"),
    ],
)
def test_a_function_that_is_none_is_one_line(mine: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_estimator(f"{mine}:{name}")
    with pytest.raises(ConfigError, match="there is no file"):
        find_estimator(f"{mine[:-7]}nobody.py:{name}")


def test_an_edited_file_is_read_anew(mine: str) -> None:
    assert find_estimator(f"{mine}:median").min_samples == 3
    Path(mine).write_text(MINE.replace("min_samples=3", "min_samples=5"))
    os.utime(mine, ns=(1, 1))
    assert find_estimator(f"{mine}:median").min_samples == 5
