"""The interface of an address."""

from __future__ import annotations

import psutil

from rlhf.runtime.network import interface_of


def test_the_loopback_is_found():
    name = interface_of("127.0.0.1")
    assert any(entry.address == "127.0.0.1" for entry in psutil.net_if_addrs()[name])


def test_every_address_of_this_machine_names_its_own_interface():
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.address.count(".") == 3:
                assert interface_of(entry.address) == name


def test_an_unknown_address_falls_back_to_the_loopback():
    assert interface_of("203.0.113.7") == interface_of("127.0.0.1")
