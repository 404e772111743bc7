"""Adapters: low-rank weights of the peft library put into a network, switched off, merged."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from rlhf.checkpoint.files import writing
from rlhf.config.model import PeftConfig
from rlhf.errors import ModelError
from rlhf.models.copies import fresh_copy, load_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DRAWN = 0.02
"""Standard deviation of adapters that are tried before training."""
BASE_FOLDER = "base"
"""Beside a scalar model's adapters: the base as they want it."""


STATEFUL = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
NO_ADAPTER = {"out_proj", "conv1d"}
"""Layers of state-space blocks whose weights kernels read past an adapter; peft refuses them."""


def unadaptable(network: nn.Module) -> list[str] | None:
    """Return the names of linear layers that all-linear leaves out, None where there are none.

    Those that multiply in a way of their own (in groups), that share their weight with another, as
    an adapter would be merged into both, and those peft refuses.
    """
    owners = Counter(id(m.weight) for m in network.modules() if isinstance(m, nn.Linear))
    stateful = network.config.model_type in STATEFUL  # type: ignore[union-attr]
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and (
            not _multiplies(module)
            or owners[id(module.weight)] > 1
            or (stateful and name.rpartition(".")[2] in NO_ADAPTER)
        )
    ]
    return names or None


# The library asks transformers for a name of old, and tells of what it then sets right by itself.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="fan_in_fan_out is set to", category=UserWarning)


@torch.no_grad()
def _multiplies(layer: nn.Linear) -> bool:
    """Return whether a layer is a map from inputs to outputs, whatever its own forward is."""
    if type(layer).forward is nn.Linear.forward:
        return True
    try:
        answer: object = layer(layer.weight[:1])
    except (RuntimeError, ValueError):
        return False
    return isinstance(answer, Tensor) and answer.shape == (1, layer.out_features)


class Adapter:
    """The adapters inside one network; the network itself stays the plain class it was."""

    def __init__(self, network: PreTrainedModel, config: PeftConfig, *, seed: int) -> None:
        """Put adapters into the network in place: base frozen, adapters (and a head) learn."""
        torch.manual_seed(seed)
        self._config, self._causal = config, "score" not in dict(network.named_children())
        # As SEQ_CLS the library trains the head itself, and keeps it with the adapters.
        try:
            self._peft = get_peft_model(network, self._lora(network))  # type: ignore[arg-type]
        except ValueError as error:
            raise ModelError(f"peft.target_modules={config.target_modules}: {error}") from error

    @torch.no_grad()
    def draw(self) -> None:
        """Give new adapters, which change nothing yet, some effect, as training would."""
        for name, weight in self._peft.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=DRAWN)

    def off(self) -> AbstractContextManager[None]:
        """Return a context in which the network runs without its adapters."""
        return self._peft.disable_adapter()  # type: ignore[return-value]

    def save(self, folder: Path, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
        """Save the adapters alone as a folder of the peft library, inside the merged model's.

        The library loads it by itself, on the base that it names. Under a scalar model that must
        have one label and a pad, so there the folder holds it: a config, and links to its weights.
        """
        model = self._copy(network, weights)
        with writing(folder, 0):
            self._save(model, network.name_or_path, folder)

    def _save(self, model: PeftModel, base: str | None, folder: Path) -> None:
        if base and Path(base).is_dir():
            found = Path(base).absolute()
            base = str(found if self._causal else scalar_base(found, folder))
        config = cast("LoraConfig", model.peft_config["default"])
        config.base_model_name_or_path = base
        for name in ("target_modules", "exclude_modules"):
            modules = getattr(config, name)
            if isinstance(modules, set):  # whose order is another in every process
                setattr(config, name, sorted(cast("set[str]", modules)))
        model.save_pretrained(str(folder))

    def merged(self, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
        """Return a fresh plain network with the adapters merged into the base weights."""
        return self._copy(network, weights).merge_and_unload()  # type: ignore[return-value]

    def _copy(self, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PeftModel:
        fresh = fresh_copy(network)
        model = get_peft_model(fresh, self._lora(fresh))  # type: ignore[arg-type]
        load_weights(fresh, weights)
        return model  # type: ignore[return-value]

    def _lora(self, network: PreTrainedModel) -> LoraConfig:
        targets = self._config.targets
        return LoraConfig(
            r=self._config.rank,
            lora_alpha=self._config.alpha,
            lora_dropout=self._config.dropout,
            target_modules=targets,
            exclude_modules=unadaptable(network) if targets == "all-linear" else None,
            task_type="CAUSAL_LM" if self._causal else "SEQ_CLS",
        )


def scalar_base(base: Path, folder: Path) -> Path:
    """Make FOLDER/base: the base's weights as links, under the config of the merged model above."""
    made = folder.absolute() / BASE_FOLDER
    made.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        if file.name.endswith((".safetensors", ".bin", ".index.json")):
            link = made / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file)
    shutil.copyfile(folder.parent / "config.json", made / "config.json")
    return made
