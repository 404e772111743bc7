"""Counter-based randomness."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.seeding import derive_seed, uniforms

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WORD = (1 << 64) - 1


def mix(x: int) -> int:
    """SplitMix64's finalizer on unsigned Python integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def one_uniform(seed: int, sample: int, position: int) -> float:
    """The definition, one number at a time, without torch."""
    golden = 0x9E3779B97F4A7C15
    stream = mix((mix(seed) + sample * golden) & WORD)
    return (mix(stream ^ mix(((position + 1) * golden) & WORD)) >> 11) * 2.0**-53


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_follows_the_unsigned_definition(device: str) -> None:
    seed = derive_seed(1, "sample", 3)
    samples = [0, 1, 2, 1000, 2**40, 2**62]
    for position in (0, 1, 511):
        found = uniforms(seed, torch.tensor(samples, device=device), position).tolist()
        assert found == [one_uniform(seed, sample, position) for sample in samples]


def test_a_number_depends_on_nothing_but_its_own_counter() -> None:
    # correctness 27: batch composition, order and shape do not matter.
    samples, positions = torch.arange(50), torch.arange(20)
    table = uniforms(9, samples[:, None], positions)
    assert table.shape == (50, 20)
    assert table.dtype == torch.float64
    shuffled = samples[torch.randperm(50)]
    assert torch.equal(uniforms(9, shuffled, 7), table[shuffled, 7])
    assert torch.equal(uniforms(9, samples, positions[13]), table[:, 13])


def test_numbers_are_uniform() -> None:
    table = uniforms(derive_seed(0), torch.arange(1000)[:, None], torch.arange(1000))
    assert table.min() >= 0
    assert table.max() < 1
    counts = torch.bincount((table.flatten() * 100).long(), minlength=100).double()
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum().item()
    assert 53 < chi_square < 160, "99 degrees of freedom, 0.0001 on either side"


def correlation(x: torch.Tensor, y: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1].item()


def test_neighbours_are_not_correlated() -> None:
    table = uniforms(5, torch.arange(1000)[:, None], torch.arange(1000))
    next_seed = uniforms(6, torch.arange(1000)[:, None], torch.arange(1000))
    bound = 4 / 1000
    assert abs(correlation(table[1:], table[:-1])) < bound
    assert abs(correlation(table[:, 1:], table[:, :-1])) < bound
    assert abs(correlation(table[1:, 1:], table[:-1, :-1])) < bound
    assert abs(correlation(table[1:, :-1], table[:-1, 1:])) < bound
    assert abs(correlation(table, table.T)) < bound + 1 / 500
    assert abs(correlation(table, next_seed)) < bound


def test_pairs_fill_the_square() -> None:
    table = uniforms(11, torch.arange(1000)[:, None], torch.arange(1000))
    for first, second in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1])):
        cells = (first * 10).long() * 10 + (second * 10).long()
        counts = torch.bincount(cells.flatten(), minlength=100).double()
        expected = counts.sum() / 100
        assert ((counts - expected) ** 2 / expected).sum() < 160


def test_numbers_do_not_repeat() -> None:
    table = uniforms(2, torch.arange(1000)[:, None], torch.arange(1000))
    assert len(table.unique()) == 1_000_000


def test_seeds_are_those_of_the_documented_hash() -> None:
    # The value is frozen: a change of it would change every run ever recorded.
    assert derive_seed(1, "shuffle", 2) == 3242062610779445798
    assert 0 <= derive_seed() < 2**63


def test_no_two_keys_share_a_seed() -> None:
    keys: list[tuple[int | str, ...]] = [
        (), (1,), ("1",), (1, 2), (12,), ("1", 2), (1, "2"), ("12",), ("1i1:2",), (2, 1), (-1, 2),
    ]  # fmt: skip
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert len({derive_seed(0, step) for step in range(10_000)}) == 10_000
