"""Listener: hears what is told in its own thread, while it listens."""

from __future__ import annotations

import threading

import pytest

from rlhf.observe.listener import heard_by, tell


def test_it_hears_what_is_told_meanwhile_and_nothing_else():
    heard: list[object] = []
    tell("sft", 0, {"a": 1.0})
    with heard_by(lambda *told: heard.append(told)):
        tell("sft", 1, {"a": 2.0})
        with heard_by(lambda *told: None):
            tell("sft", 2, {})
        tell("ppo", 0, {})
    tell("ppo", 1, {})
    assert heard == [("sft", 1, {"a": 2.0}), ("ppo", 0, {})]


def test_another_thread_is_not_heard():
    heard: list[object] = []
    with heard_by(lambda *told: heard.append(told)):
        other = threading.Thread(target=tell, args=("sft", 0, {}))
        other.start()
        other.join()
    assert heard == []


def test_what_it_raises_reaches_who_tells_and_it_is_gone():
    def stop(*told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heard_by(stop):
        tell("sft", 0, {})
    tell("sft", 1, {})
