"""Adapters: low-rank weights of the peft library put into a network, switched off, merged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor

from rlhf.config.model import PeftConfig
from rlhf.errors import ModelError
from rlhf.models.pretrained import fresh_copy, load_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The library asks transformers for a name of old, and tells of what it then sets right by itself.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="fan_in_fan_out is set to", category=UserWarning)


class Adapter:
    """The adapters inside one network; the network itself stays the plain class it was."""

    def __init__(self, network: PreTrainedModel, config: PeftConfig, *, seed: int) -> None:
        """Put adapters into the network in place: base frozen, adapters (and a head) learn."""
        torch.manual_seed(seed)
        self._config, self._causal = config, "score" not in dict(network.named_children())
        # As SEQ_CLS the library trains the head itself, and keeps it with the adapters.
        try:
            self._peft = get_peft_model(network, self._lora())  # type: ignore[arg-type]
        except ValueError as error:
            raise ModelError(f"peft.target_modules={config.target_modules}: {error}") from error

    def off(self) -> AbstractContextManager[None]:
        """Run the network as it was before the adapters came."""
        return self._peft.disable_adapter()  # type: ignore[return-value]

    def save(self, folder: Path, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
        """Write the adapters alone as a folder of the peft library."""
        model = self._copy(network, weights)
        model.save_pretrained(str(folder))

    def merged(self, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
        """Return a fresh plain network in which base and adapters are one."""
        return self._copy(network, weights).merge_and_unload()  # type: ignore[return-value]

    def _copy(self, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PeftModel:
        fresh = fresh_copy(network)
        fresh.name_or_path = network.name_or_path
        model = get_peft_model(fresh, self._lora())  # type: ignore[arg-type]
        load_weights(fresh, weights)
        return model  # type: ignore[return-value]

    def _lora(self) -> LoraConfig:
        return LoraConfig(
            r=self._config.rank,
            lora_alpha=self._config.alpha,
            lora_dropout=self._config.dropout,
            target_modules=self._config.targets,
            task_type="CAUSAL_LM" if self._causal else "SEQ_CLS",
        )
