"""The ranks' store: who belongs to a start, and what a stranger in another process can do."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from torch.distributed import TCPStore

from rlhf.engine.store import MARK, check_alone, enter, sign
from rlhf.errors import WorkerError

NONCE = "5f2c" * 8
STRANGER = """
import sys
from datetime import timedelta
from torch.distributed import TCPStore
store = TCPStore("127.0.0.1", int(sys.argv[1]), is_master=False, wait_for_workers=False,
                 timeout=timedelta(seconds=20))
print(store.list_keys(), store.get("rlhf/start").decode())
if len(sys.argv) > 2:
    store.set(sys.argv[2], sys.argv[3])
"""


@pytest.fixture
def store():
    door = socket.create_server(("127.0.0.1", 0))
    port = door.getsockname()[1]
    yield TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        multi_tenant=True,
        master_listen_fd=door.fileno(),
    )
    door.detach()  # the store closes it


def stranger(store, *written):
    asked = [sys.executable, "-c", STRANGER, str(store.port), *written]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


def test_ranks_of_one_start_find_what_they_wrote(store):
    sign(store, NONCE)
    whole, own = enter("127.0.0.1", store.port, NONCE, 20)
    own.set("rank0", "address")
    assert enter("127.0.0.1", store.port, NONCE, 20)[1].get("rank0") == b"address"
    check_alone(whole, NONCE)


def test_a_stranger_who_reads_before_the_ranks_meet_does_not_learn_the_nonce(store):
    sign(store, NONCE)
    assert NONCE not in stranger(store)


@pytest.mark.parametrize("name", ["default_pg/0//cpu//0/0", "0/0"])
def test_a_start_where_a_stranger_wrote_is_refused(store, name):
    sign(store, NONCE)
    whole, own = enter("127.0.0.1", store.port, NONCE, 20)
    own.set("rank0", "address")
    stranger(store, name, "elsewhere")
    with pytest.raises(WorkerError, match=f"^a stranger wrote '{name}' to the store at 127.0.0.1:"):
        check_alone(whole, NONCE)


def test_a_start_whose_mark_a_stranger_changed_is_refused(store):
    sign(store, NONCE)
    whole, _ = enter("127.0.0.1", store.port, NONCE, 20)
    stranger(store, MARK, "mine")
    with pytest.raises(WorkerError, match="a stranger wrote the mark of this start"):
        check_alone(whole, NONCE)
    with pytest.raises(WorkerError, match="is not of this start") as caught:
        enter("127.0.0.1", store.port, NONCE, 20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [None, "0" * 32])
def test_a_store_of_another_start_is_refused(store, other):
    if other:
        sign(store, other)
    with pytest.raises(WorkerError, match="is not of this start"):
        enter("127.0.0.1", store.port, NONCE, 20)


def test_a_port_where_nobody_listens_is_told():
    with pytest.raises(WorkerError, match="no store of this role answers at 127.0.0.1:9"):
        enter("127.0.0.1", 9, NONCE, 1)
