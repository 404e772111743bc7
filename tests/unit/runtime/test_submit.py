"""Jobs: how they end here, and the error when no cluster takes them.

`tests/integration/test_multinode.py` hands real ones to real nodes.
"""

from __future__ import annotations

import pytest

from rlhf.errors import ConfigError
from rlhf.runtime.submit import Ended, Jobs, dashboard_of


@pytest.mark.parametrize(
    ("status", "driver_code", "code", "reason"),
    [
        ("SUCCEEDED", 0, 0, ""),
        ("FAILED", 2, 2, "failed with exit code 2"),
        ("FAILED", 3, 3, "failed with exit code 3"),
        ("FAILED", -9, 137, "failed with exit code 137"),
        ("FAILED", 127, 127, "found no `python`"),
        ("FAILED", None, 3, "failed: the supervisor died"),
        # Ray's own command line ends with 0 for these.
        ("STOPPED", None, 130, "was stopped"),
        ("STOPPED", 0, 130, "was stopped"),
    ],
)
def test_a_job_ends_here_as_its_command_ended_there(status, driver_code, code, reason):
    ended = Ended(status=status, driver_code=driver_code, message="the supervisor died\nat dawn")
    assert ended.exit_code == code
    if code:
        assert ended.reason.startswith(reason)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "ray://10.0.0.1:10001", "auto", "http://:x"])
def test_what_is_no_dashboard_is_refused_with_an_example(address):
    with pytest.raises(ConfigError, match=r"no dashboard of a Ray cluster.*http://HEAD:8265"):
        Jobs(address)


def test_a_closed_port_is_reported_at_once():
    with pytest.raises(ConfigError, match="no Ray dashboard answers there"):
        Jobs("http://127.0.0.1:9")


def test_the_address_given_wins_over_the_environments_and_that_over_this_machine(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://one.example:8265")
    assert dashboard_of("http://two.example:8265") == "http://two.example:8265"
    assert dashboard_of(None) == "http://one.example:8265"
    monkeypatch.delenv("RAY_ADDRESS")
    assert dashboard_of(None) == "http://127.0.0.1:8265"
