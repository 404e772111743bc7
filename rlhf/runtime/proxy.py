"""RoleProxy: a role on many ranks, called as if it were one object, by its methods' marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rlhf.algo.minibatch import shares
from rlhf.flow.future import Then
from rlhf.roles.remote import Asked, Remote, mark_of
from rlhf.runtime.group import Group


class RoleProxy:
    """Implements a role's port: every marked method of the role, called on a group's ranks."""

    def __init__(self, group: Group, role: type) -> None:
        """Wrap a group whose ranks hold a role of this class."""
        self.group, self._role = group, role

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function that calls a marked method on the ranks."""
        mark = mark_of(self._role, name)
        if mark is None:
            raise AttributeError(f"{self._role.__name__}.{name} is not marked @remote")
        return partial(self._stream if mark.streams else self._ask, name, mark)

    def _ask(self, name: str, mark: Remote, *arguments: Any) -> Any:
        asked, given = self._dealt(mark, arguments)
        answers = self.group.call(name, given, mark)
        future = Then(answers, lambda found: mark.join(found, asked))
        return future.result() if mark.blocks else future

    def _stream(self, name: str, mark: Remote, *arguments: Any) -> Iterator[Any]:
        asked, given = self._dealt(mark, arguments)
        for answers in self.group.stream(name, given, mark):
            yield mark.join(answers, asked)

    def _dealt(self, mark: Remote, arguments: tuple[Any, ...]) -> tuple[Asked, list[Any]]:
        """Return the rows that are dealt out, and each rank's arguments."""
        size = self.group.size
        if mark.deal == "whole":
            return Asked(arguments, ()), [arguments] * size
        batch, *others = arguments
        if mark.deal == "first":
            return Asked(arguments, ()), [arguments] + [(batch.select([]), *others)] * (size - 1)
        rows = shares(batch.lengths_B, size)
        return Asked(arguments, rows), [(batch.select(share), *others) for share in rows]
