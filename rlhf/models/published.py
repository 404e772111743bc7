"""Published configs: the shapes of common models, for plans on machines that have none of them.

The figures are those of the config.json that each model's authors published; of what is not named,
the family's default stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transformers import AutoConfig, PretrainedConfig

_Figures = Mapping[str, Any]


def _shape(*sizes: int, **more: Any) -> _Figures:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {
        **dict(zip((*names, "num_key_value_heads", "vocab_size"), sizes, strict=True)),
        "tie_word_embeddings": False,
        **more,
    }


TIED: Final = {"tie_word_embeddings": True}
_QWEN2: Final[Mapping[str, _Figures]] = {
    "0.5B": _shape(896, 4864, 24, 14, 2, 151936, **TIED),
    "1.5B": _shape(1536, 8960, 28, 12, 2, 151936, **TIED),
    "3B": _shape(2048, 11008, 36, 16, 2, 151936, **TIED),
    "7B": _shape(3584, 18944, 28, 28, 4, 152064),
    "14B": _shape(5120, 13824, 48, 40, 8, 152064),
    "32B": _shape(5120, 27648, 64, 40, 8, 152064),
    "72B": _shape(8192, 29568, 80, 64, 8, 152064),
}
_QWEN3: Final[Mapping[str, _Figures]] = {
    "0.6B": _shape(1024, 3072, 28, 16, 8, 151936, head_dim=128, **TIED),
    "1.7B": _shape(2048, 6144, 28, 16, 8, 151936, head_dim=128, **TIED),
    "4B": _shape(2560, 9728, 36, 32, 8, 151936, head_dim=128, **TIED),
    "8B": _shape(4096, 12288, 36, 32, 8, 151936, head_dim=128),
    "14B": _shape(5120, 17408, 40, 40, 8, 151936, head_dim=128),
    "32B": _shape(5120, 25600, 64, 64, 8, 151936, head_dim=128),
}
_LLAMA3: Final[Mapping[str, _Figures]] = {
    "3.2-1B": _shape(2048, 8192, 16, 32, 8, 128256, head_dim=64, **TIED),
    "3.2-3B": _shape(3072, 8192, 28, 24, 8, 128256, head_dim=128, **TIED),
    "3.1-8B": _shape(4096, 14336, 32, 32, 8, 128256),
    "3.1-70B": _shape(8192, 28672, 80, 64, 8, 128256),
}
_SMOLLM2: Final[Mapping[str, _Figures]] = {
    "135M": _shape(576, 1536, 30, 9, 3, 49152, **TIED),
    "360M": _shape(960, 2560, 32, 15, 5, 49152, **TIED),
    "1.7B": _shape(2048, 8192, 24, 32, 32, 49152, **TIED),
}
KNOWN: Final[Mapping[str, tuple[str, _Figures]]] = {
    **{f"Qwen/Qwen2.5-{size}": ("qwen2", shape) for size, shape in _QWEN2.items()},
    **{f"Qwen/Qwen3-{size}": ("qwen3", shape) for size, shape in _QWEN3.items()},
    **{f"meta-llama/Llama-{size}": ("llama", shape) for size, shape in _LLAMA3.items()},
    **{f"HuggingFaceTB/SmolLM2-{size}": ("llama", shape) for size, shape in _SMOLLM2.items()},
    "mistralai/Mistral-7B-v0.1": ("mistral", _shape(4096, 14336, 32, 32, 8, 32000)),
    "mistralai/Mistral-7B-v0.3": ("mistral", _shape(4096, 14336, 32, 32, 8, 32768)),
}
"""Family and figures by the hub name of the base model."""
TUNED: Final = ("-Instruct", "-Base")
"""Endings of names of models of the same shape."""


def published_config(name: str) -> PretrainedConfig | None:
    """Return the config of a common model by its hub name; None when it is not known here."""
    base = name
    for ending in TUNED:
        base = base.removesuffix(ending)
    found = KNOWN.get(base) or KNOWN.get(base.replace("-Instruct-", "-"))
    if found is None:
        return None
    family, figures = found
    return AutoConfig.for_model(family, **figures)
