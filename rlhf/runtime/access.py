"""Access: whether a Ray cluster that others can reach asks them for a token.

Who reaches a Ray cluster without one may run any code on it (CVE-2023-48022). Ray makes and checks
a token by itself for a cluster that `ray.init` starts; at the address of a running cluster only
where RAY_AUTH_MODE says so.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from rlhf.errors import ConfigError

REMEDY = (
    "make one with `ray get-auth-token --generate`, copy it to every node and set "
    "RAY_AUTH_MODE=token before `ray start` and here"
)


def check_token(address: str) -> str | None:
    """Check how Ray would let others in at an address.

    Args:
        address: local, HOST:PORT or ray://HOST:PORT.

    Returns:
        None where only those may enter who should, else a warning.

    Raises:
        ConfigError: when no token is used and nobody decided so, or there is none to use.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    if mode == "token" and address != "local" and not _has_token():
        raise ConfigError(
            f"RAY_AUTH_MODE=token, and there is no token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH "
            f"or {_default_path()}; copy that of the cluster there"
        )
    if mode == "token" or _is_loopback(host) or (address == "local" and not mode):
        return None
    open_access = f"cluster.address={address}: whoever reaches it may run any code on its nodes"
    if mode:
        return f"{open_access}, as RAY_AUTH_MODE={mode} asks for no token; keep it off the network"
    raise ConfigError(
        f"{open_access}: it is no loopback address and RAY_AUTH_MODE is not set; {REMEDY}; "
        "RAY_AUTH_MODE=disabled says that the network is closed to others"
    )


def _has_token() -> bool:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else _default_path()
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or file.is_file()


def _default_path() -> Path:
    return Path.home() / ".ray" / "auth_token"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
