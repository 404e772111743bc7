"""Steps: one forward that adds a token to every live row; on a GPU a captured graph of it.

A decode step launches a thousand small kernels, so on a GPU the launches are what takes time. A
graph replays them all at once, but has fixed shapes: rows and columns are rounded up, and the rows
added write into slots that are not in use.

Axes: N live rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.generation.masks import DecodeMask
from rlhf.generation.slots import SlotCache
from rlhf.models.language_model import LanguageModel

ROWS, COLUMNS = 32, 128
"""Rows and columns of a graph are multiples of these."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """A captured step, and the memory it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    tokens_N: Tensor
    columns_N: Tensor
    logits_NV: Tensor


class Steps:
    """Decodes step by step over one cache."""

    def __init__(self, model: LanguageModel, cache: SlotCache, *, rounded: bool) -> None:
        """Bind model and cache.

        Args:
            model: The model, with whole weights, which must stay where they are.
            cache: The cache of the rows.
            rounded: Use rounded shapes, as graphs must; on a GPU they are then captured.
        """
        self._model, self._cache, self._rounded = model, cache, rounded
        self._mask = DecodeMask(model)
        self._graphs: dict[tuple[int, int], _Graph] = {}

    def __call__(self, tokens_N: Tensor, columns_N: Tensor, width: int) -> Tensor:
        """Return the logits after one more token of each row.

        Args:
            tokens_N: The tokens, int64.
            columns_N: Where each stands in its row, int64.
            width: Columns that any row has, this token included.
        """
        if not self._rounded:
            return self._run(tokens_N, columns_N, width)
        num_rows = min(_rounded(len(tokens_N), ROWS), self._cache.num_slots)
        width = min(_rounded(width, COLUMNS), self._cache.capacity)
        rows = (_longer(tokens_N, num_rows), _longer(columns_N, num_rows))
        if tokens_N.is_cuda:
            return self._by_graph(*rows, width)[: len(tokens_N)]
        return self._run(*rows, width)[: len(tokens_N)]

    def _run(self, tokens_N: Tensor, columns_N: Tensor, width: int) -> Tensor:
        self._cache.decode(columns_N, width)
        return self._model.logits(
            tokens_N[:, None],
            torch.arange(len(columns_N), device=columns_N.device),
            past_key_values=self._cache,
            use_cache=True,
            position_ids=columns_N[:, None],
            attention_mask=self._mask(columns_N, width),
        )

    def _by_graph(self, tokens_N: Tensor, columns_N: Tensor, width: int) -> Tensor:
        key = (len(tokens_N), width)
        if key not in self._graphs:
            self._graphs[key] = self._capture(tokens_N, columns_N, width)
        captured = self._graphs[key]
        captured.tokens_N.copy_(tokens_N)
        captured.columns_N.copy_(columns_N)
        captured.graph.replay()
        self._cache.width = width
        return captured.logits_NV

    def _capture(self, tokens_N: Tensor, columns_N: Tensor, width: int) -> _Graph:
        tokens_N, columns_N = tokens_N.clone(), columns_N.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their kernels before the capture
            for _ in range(2):
                self._run(tokens_N, columns_N, width)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits_NV = self._run(tokens_N, columns_N, width)
        return _Graph(graph, tokens_N, columns_N, logits_NV)


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step


def _longer(x_N: Tensor, length: int) -> Tensor:
    """Return x with zeros behind it."""
    return torch.cat([x_N, x_N.new_zeros(length - len(x_N))])
