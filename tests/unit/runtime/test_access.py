"""Access: a cluster open to anybody who reaches it is refused, unless a setting allows it."""

from __future__ import annotations

import pytest

from rlhf.errors import ConfigError
from rlhf.runtime.access import check_token


@pytest.fixture(autouse=True)
def nobody_said_anything(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    "address", ["local", "127.0.0.1:6379", "localhost:6379", "[::1]:6379", "ray://127.0.0.1:10001"]
)
def test_what_others_cannot_reach(address):
    assert check_token(address) is None


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "[fe80::1]:6379", "ray://head:10001"])
def test_an_open_cluster(address, monkeypatch):
    with pytest.raises(ConfigError, match="run any code .* RAY_AUTH_MODE is not set; make one"):
        check_token(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE=disabled asks for no token" in str(check_token(address))


def test_a_token_that_is_wanted_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert check_token("local") is None, "Ray makes one"
    with pytest.raises(ConfigError, match="there is no token in RAY_AUTH_TOKEN"):
        check_token("10.0.0.1:6379")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 64)
    assert check_token("10.0.0.1:6379") is None
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="there is no token"):
        check_token("10.0.0.1:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert check_token("10.0.0.1:6379") is None
