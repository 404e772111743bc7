"""Scores from a Python function of the user's, in TRL's convention.

    def f(prompts, completions, **columns) -> list[float]

`prompts`, `completions` and every column are lists with one entry a response. A prompt is a
string with a string completion, or messages with a completion of one assistant message. A
function is given only the arguments it names, unless it takes **kwargs; it may be async.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, cast

from rlhf.errors import DataError, described
from rlhf.rewards.result import checked_scores, excerpt, place_of

RewardFunction: TypeAlias = Callable[..., object]
"""f(prompts=..., completions=..., **columns), giving one number a response, or awaiting them."""

RESERVED = frozenset({"prompt", "completion", "prompts", "completions"})
"""Column names that are not passed on: the function gets these as prompts and completions."""


def unfilled(function: str, needs: Iterable[str], columns: Mapping[str, str]) -> str:
    """Return which argument of a function no column of the prompts fills, empty if all are filled.

    Args:
        function: What to call it, such as FILE.py:NAME.
        needs: The arguments without which it cannot be called.
        columns: The columns of the prompts, each with which rows are without it, if any are.
    """
    names = sorted({"prompts", "completions", *columns} - {"prompt", "completion"})
    for name in needs:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            return (
                f"reward function {function} needs `{name}`, no column of the prompts"
                f"{f'; nearest: {near[0]}' if near else ''}; it is offered {', '.join(names)}"
            )
        if without := columns.get(name):
            return (
                f"reward function {function} needs `{name}`, a column that is not in {without}; "
                f"write it in every row, null where there is none, or give the argument a default "
                f"({name}=None)"
            )
    return ""


class FunctionReward:
    """Calls one reward function and checks its result."""

    def __init__(self, function: RewardFunction, name: str) -> None:
        """Take the function and read its signature.

        Args:
            function: A reward function, plain or async.
            name: What to call it in messages, such as FILE.py:NAME.
        """
        self._function = function
        self._name = name
        self._parameters = inspect.signature(function).parameters
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def needs(self) -> list[str]:
        """The arguments without which it cannot be called."""
        return [name for name, parameter in self._parameters.items() if _required(parameter)]

    def score(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return one finite score a response.

        Args:
            prompts: B prompts, each a string or a list of messages.
            completions: B responses as text, or already as messages.
            columns: B rows of the other columns; one that a row lacks is None there.

        Raises:
            DataError: when the function raises, needs an argument that no column fills, or
                does not return one finite number a response.
        """
        if not prompts:
            return []
        offered: dict[str, list[object]] = {
            **_transpose(columns),
            "prompts": list(prompts),
            "completions": [_shaped(p, c) for p, c in zip(prompts, completions, strict=True)],
        }
        return self._call(self._accepted(offered), prompts)

    def _call(self, arguments: Mapping[str, object], prompts: Sequence[object]) -> list[float]:
        asked = list(prompts)  # The function may change the list it is given.
        try:
            result = self._function(**arguments)
            if inspect.isawaitable(result):
                result = self._wait(cast("Awaitable[object]", result))
            return checked_scores(result, asked, self._name)
        except DataError:
            raise
        except BaseException as error:  # a user's function may raise anything, and exit
            raise DataError(self._raised(error, asked)) from error

    def _accepted(self, offered: Mapping[str, list[object]]) -> dict[str, list[object]]:
        """Return the arguments the function takes; refuse when it needs one that is not there."""
        kinds = {parameter.kind for parameter in self._parameters.values()}
        missing = unfilled(self._name, self.needs, dict.fromkeys(offered, ""))
        if missing:
            raise DataError(missing)
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return dict(offered)
        return {name: entries for name, entries in offered.items() if name in self._parameters}

    def _wait(self, answer: Awaitable[object]) -> object:
        """Wait on one loop that lasts, so that a client the function keeps stays usable."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
        result, error = asyncio.run_coroutine_threadsafe(_awaited(answer), self._loop).result()
        if error is not None:
            raise error
        return result

    def _raised(self, error: BaseException, prompts: Sequence[object]) -> str:
        return (
            f"reward function {self._name} raised {described(error)} at {place_of(error)}, "
            f"scoring {len(prompts)} responses (first prompt {excerpt(prompts[0])}); it must "
            "return one finite number for any response"
        )


async def _awaited(answer: Awaitable[object]) -> tuple[object, BaseException | None]:
    """Return the answer, or the exception: raised here, an exit would end the loop."""
    try:
        return await answer, None
    except BaseException as error:  # noqa: BLE001 - raised again where the loop is not
        return None, error


def _required(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic


def _transpose(columns: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Return rows of columns as lists by name."""
    names = {name: None for row in columns for name in row if name not in RESERVED}
    return {name: [row.get(name) for row in columns] for name in names}


def _shaped(prompt: object, completion: object) -> object:
    """Return a completion in the form of its prompt: text for text, messages for messages."""
    if isinstance(prompt, str) or not isinstance(completion, str):
        return completion
    return [{"role": "assistant", "content": completion}]
