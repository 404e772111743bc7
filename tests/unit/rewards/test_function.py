"""A user's function is called as TRL calls it, and its failures are one line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rlhf.errors import DataError
from rlhf.rewards.function import FunctionReward

CHAT = [{"role": "user", "content": "Hi"}]


def test_everything_is_passed_by_name_as_lists() -> None:
    seen: dict[str, Any] = {}

    def reward(prompts: list[str], completions: list[str], **kwargs: object) -> list[float]:
        seen.update(kwargs, prompts=prompts, completions=completions)
        return [0.0, 1.0]

    rows = ({"answer": "a", "level": 1}, {"answer": "b", "level": 2})
    assert FunctionReward(reward, "f").score(("p", "q"), ["x", "y"], rows) == [0.0, 1.0]
    assert seen == {
        "prompts": ["p", "q"],
        "completions": ["x", "y"],
        "answer": ["a", "b"],
        "level": [1, 2],
    }


def test_a_chat_prompt_gets_a_chat_completion() -> None:
    def reward(prompts: list[Any], completions: list[Any]) -> list[int]:
        assert prompts == [CHAT, "plain", CHAT]
        assert completions[0] == [{"role": "assistant", "content": "Hello"}]
        return [len(completion[0]) for completion in completions]

    completions = ["Hello", "text", [{"role": "assistant", "content": "x"}]]
    assert FunctionReward(reward, "f").score((CHAT, "plain", CHAT), completions, ({},) * 3) == [
        2.0,
        1.0,
        2.0,
    ]


def test_only_what_the_function_names_is_passed() -> None:
    def reward(completions: list[str], answer: list[str], scale: float = 2.0) -> list[float]:
        return [scale * (text == a) for text, a in zip(completions, answer, strict=True)]

    rows = ({"answer": "x", "other": 0}, {"answer": "z", "other": 0})
    assert FunctionReward(reward, "f").score(("p", "q"), ["x", "y"], rows) == [2.0, 0.0]


def test_columns_named_like_the_texts_are_not_passed() -> None:
    def reward(completions: list[str], **kwargs: object) -> list[int]:
        assert set(kwargs) == {"prompts"}
        return [len(text) for text in completions]

    rows = ({"prompt": "p", "completion": "gold", "completions": 1, "prompts": 2},)
    assert FunctionReward(reward, "f").score(("p",), ["four"], rows) == [4.0]


def test_a_column_a_row_lacks_is_none_there() -> None:
    def reward(completions: list[str], answer: list[str | None]) -> list[float]:
        return [0.0 if a is None else 1.0 for a in answer]

    assert FunctionReward(reward, "f").score(("p", "q"), ["x", "y"], ({}, {"answer": "a"})) == [
        0.0,
        1.0,
    ]


def test_a_missing_argument_is_named_with_the_nearest_column() -> None:
    def reward(completions: list[str], answers: list[str]) -> list[float]:
        return [0.0]

    with pytest.raises(DataError, match=r"m\.py:f needs `answers`.*nearest: answer;.*completions"):
        FunctionReward(reward, "m.py:f").score(("p",), ["x"], ({"answer": "a"},))


def test_an_async_function_keeps_its_loop_between_calls() -> None:
    loops: list[object] = []

    async def reward(completions: list[str], **_: object) -> list[float]:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [float(len(text)) for text in completions]

    scorer = FunctionReward(reward, "f")
    assert scorer.score(("p",), ["abc"], ({},)) == [3.0]

    async def inside_a_running_loop() -> list[float]:
        return scorer.score(("p",), ["ab"], ({},))

    assert asyncio.run(inside_a_running_loop()) == [2.0]
    assert loops[0] is loops[1]


def test_a_callable_object_may_be_async() -> None:
    class Reward:
        async def __call__(self, completions: list[str]) -> list[float]:
            return [5.0 for _ in completions]

    assert FunctionReward(Reward(), "f").score(("p",), ["x"], ({},)) == [5.0]


def test_an_exception_is_one_line_with_its_place() -> None:
    def reward(completions: list[str]) -> list[float]:
        raise KeyError("two\nlines")

    async def later(completions: list[str]) -> list[float]:
        raise KeyError("two\nlines")

    for function in (reward, later):
        with pytest.raises(DataError) as caught:
            FunctionReward(function, "m.py:f").score(("my prompt",), ["x"], ({},))
        message = str(caught.value)
        assert "m.py:f raised KeyError" in message
        assert f"{__file__}:{function.__code__.co_firstlineno + 1}, scoring 1" in message
        assert "'my prompt'" in message
        assert "\n" not in message
        assert isinstance(caught.value.__cause__, KeyError)


def test_a_bad_score_is_refused() -> None:
    with pytest.raises(DataError, match=r"m\.py:f, response 1 .*'q'.*score None"):
        FunctionReward(lambda **_: [1.0, None], "m.py:f").score(("p", "q"), ["x", "y"], ({}, {}))


def test_no_rows_need_no_call() -> None:
    assert FunctionReward(lambda completions: 1 / 0, "f").score((), [], ()) == []
