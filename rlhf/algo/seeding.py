"""Randomness that depends on what is drawn, never on who draws it or what was drawn before.

A seed is a hash of the names of the thing it is for; a uniform number is a hash of (seed, sample,
position). So results do not depend on world size or batch composition, and a resumed run has no
generator to restore.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST_FACTOR = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND_FACTOR = 0x94D049BB133111EB - (1 << 64)


def derive_seed(*key: int | str) -> int:
    """Return a seed in [0, 2^63) for a key such as (run_seed, "shuffle", step).

    It is the first 63 bits of SHA-256 over the parts, each written as its kind, its length in
    bytes and its text, so that no two keys share a spelling; the same on every machine.
    """
    digest = hashlib.sha256()
    for part in key:
        text = str(part).encode()
        kind = "s" if isinstance(part, str) else "i"
        digest.update(f"{kind}{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def uniforms(seed: int, sample_B: Tensor, position: Tensor | int) -> Tensor:
    """Return uniform numbers in [0, 1), float64, one for each (sample, position).

    A counter-based generator from the SplitMix64 finalizer (Steele et al. 2014) in wrapping int64
    arithmetic, so that any device gives the same bits. The 53 high bits make the number.

    Args:
        seed: Below 2^63; derive_seed makes one.
        sample_B: Global sample index, int64; any shape.
        position: Token position; an int, or an int64 tensor that broadcasts against sample_B.
    """
    if isinstance(position, int):
        position = torch.full((), position, dtype=torch.int64, device=sample_B.device)
    stream = _mix(_mix(torch.full_like(sample_B, seed)) + sample_B * _GOLDEN)
    bits = _mix(stream ^ _mix((position + 1) * _GOLDEN))
    return _shift_right(bits, 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finalizer: a bijection of 64 bits in which each input bit moves every output."""
    x = (x ^ _shift_right(x, 30)) * _FIRST_FACTOR
    x = (x ^ _shift_right(x, 27)) * _SECOND_FACTOR
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, num_bits: int) -> Tensor:
    """Shift as if unsigned; torch's own shift of int64 keeps the sign."""
    return (x >> num_bits) & ((1 << (64 - num_bits)) - 1)
