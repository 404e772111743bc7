"""Keeper: writes a role's network as a plain Hugging Face folder, adapters merged and beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from rlhf.engine.base import Engine
from rlhf.models.pretrained import rebuild, save_network

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer
    from rlhf.models.adapters import Adapter
    from rlhf.models.pretrained import Network

ADAPTER_FOLDER = "adapter"
"""Where a model trained with peft keeps its adapters alone, inside its folder."""


class Keeper:
    """Knows the network inside an engine, its tokenizer, and its adapters if there are any."""

    def __init__(
        self,
        engine: Engine,
        network: Network,
        tokenizer: TextTokenizer,
        adapter: Adapter | None = None,
    ) -> None:
        """Remember what belongs together."""
        self.adapter = adapter
        self._engine, self._network, self._tokenizer = engine, network, tokenizer

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the model; rank 0 writes, every rank must call.

        Args:
            folder: Where to.
            weights: By the engine's names, in place of those it holds; read on rank 0 only.
        """
        weights = self._engine.weights() if weights is None else weights
        if self._engine.world.rank == 0:
            self._write(folder, {k.removeprefix("network."): v for k, v in weights.items()})

    def _write(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        if self.adapter is None:
            save_network(rebuild(self._network, weights), folder, self._tokenizer)
            return
        save_network(self.adapter.merged(self._network, weights), folder, self._tokenizer)
        self.adapter.save(folder / ADAPTER_FOLDER, self._network, weights)
