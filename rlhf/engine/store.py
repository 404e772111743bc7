"""The store at which the ranks of a role meet: theirs alone, which its nonce shows.

Torch's store asks nobody for a password, so whoever reaches its port can write there. What the
ranks of one start write lies below a nonce that only they were told; the store shows its hash. A
store without it is not of this start, and a name outside it was written by a stranger.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

from torch.distributed import DistError, PrefixStore, Store, TCPStore

from rlhf.errors import WorkerError

MARK: Final = "rlhf/start"
"""Where the store shows the nonce's hash."""


def sign(store: TCPStore, nonce: str) -> None:
    """Show in a store that it is of the start with this nonce."""
    store.set(MARK, _hash(nonce))


def enter(address: str, port: int, nonce: str, timeout_s: float) -> tuple[TCPStore, Store]:
    """Connect to the store of this start; return it whole, and the part below the nonce.

    Raises:
        WorkerError: when the store at address:port is not of this start.
    """
    timeout = timedelta(seconds=timeout_s)
    try:
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timeout)
        shown = store.get(MARK).decode(errors="replace") if store.check([MARK]) else None
    except DistError as error:
        raise WorkerError(f"no store of this role answers at {address}:{port}: {error}") from error
    if shown != _hash(nonce):
        raise WorkerError(
            f"the store at {address}:{port} is not of this start: another process took the port or "
            "wrote there; run the same command again, on a network that no stranger reaches "
            "(docs/cluster.md)"
        )
    return store, PrefixStore(nonce, store)


def check_alone(store: TCPStore, nonce: str) -> None:
    """Check that nobody but the ranks of this start wrote to the store.

    Raises:
        WorkerError: when somebody did.
    """
    foreign = [key for key in store.list_keys() if key != MARK and not key.startswith(f"{nonce}/")]
    if foreign or store.get(MARK).decode(errors="replace") != _hash(nonce):
        what = f"{min(foreign)[:60]!r}" if foreign else "the mark of this start"
        raise WorkerError(
            f"a stranger wrote {what} to the store at {store.host}:{store.port}, where the "
            "ranks of this role meet; run the same command again, on a network that no stranger "
            "reaches (docs/cluster.md)"
        )


def _hash(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()
