"""ModelSaver: saves a role's network as a plain Hugging Face folder, adapters merged and apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from rlhf.engine.base import Engine
from rlhf.models.copies import rebuild
from rlhf.models.pretrained import save_network
from rlhf.models.proof import Proof, evaluating

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer
    from rlhf.models.adapters import Adapter
    from rlhf.models.pretrained import Network

ADAPTER_FOLDER = "adapter"
"""Where a model trained with peft keeps its adapters alone, inside its folder."""


class ModelSaver:
    """Saves the network inside an engine, with its tokenizer, and its adapters if it has any."""

    def __init__(
        self,
        engine: Engine,
        network: Network,
        tokenizer: TextTokenizer,
        adapter: Adapter | None = None,
        *,
        rounded: bool = False,
    ) -> None:
        """Keep what belongs to the model; `rounded`: the engine computes in bf16."""
        self.adapter, self._rounded = adapter, rounded
        self._engine, self._network, self._tokenizer = engine, network, tokenizer

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Save the model, and check that the folder gives the same numbers; rank 0 writes.

        Every rank must call.

        Args:
            folder: Folder to write.
            weights: Weights by the engine's names, to save in place of its own; rank 0 only.

        Raises:
            TrainingError: when the folder gives other numbers than the model.
        """
        proof = Proof(self._engine.module, self._tokenizer)  # type: ignore[arg-type]
        live = self._live(proof) if weights is None else None
        weights = self._engine.weights() if weights is None else weights
        if self._engine.world.rank != 0:
            return
        written = self._write(folder, {k.removeprefix("network."): v for k, v in weights.items()})
        live = proof.ask_network(written) if live is None else live
        del weights, written  # the proof loads the folder, and needs their memory
        proof.check(folder, live, rounded=self._rounded)

    def _live(self, proof: Proof) -> Tensor:
        """Return the outputs of the model in the engine, with adapters' dropout off."""
        restore = evaluating(self._engine.module)
        live = proof.ask(self._engine, self._engine.world.device)
        restore()
        return live

    def _write(self, folder: Path, weights: Mapping[str, Tensor]) -> Network:
        if self.adapter is None:
            network = rebuild(self._network, weights)
            save_network(network, folder, self._tokenizer)
            return network
        network = self.adapter.merged(self._network, weights)
        save_network(network, folder, self._tokenizer)
        self.adapter.save(folder / ADAPTER_FOLDER, self._network, weights)
        return network
