"""Which network interface owns an address; without it gloo would bind the host's own name."""

from __future__ import annotations

import psutil


def interface_of(address: str) -> str:
    """Return the name of the interface with the address; the loopback's when none has it."""
    interfaces = psutil.net_if_addrs()
    for name, entries in interfaces.items():
        if any(entry.address == address for entry in entries):
            return name
    return next(
        (n for n, e in interfaces.items() if any(a.address == "127.0.0.1" for a in e)), "lo"
    )
