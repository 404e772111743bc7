"""Families: what a model folder is by its config, whether it can be trained here, and as what.

A causal language model of transformers can; of a folder that reads images or sounds too, its text
part. A family without a one-label classifier in transformers gets one, made as transformers makes
its own: a linear `score` over the base model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutputWithPast
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from rlhf.errors import ModelError

INSTEAD = "give a decoder-only language model, such as a Llama, Qwen, Gemma or GPT-2 folder"
UNFIT = {
    "blt": "it cuts text into patches by a second model inside it",
    "cpmant": "it reads its prompt from both sides",
    "gemma4_assistant": "it only drafts tokens for another model",
    "gemma4_unified_assistant": "it only drafts tokens for another model",
    "reformer": "it hashes each token among those that follow it",
    "xlm": "it reads a text from both sides",
    "xlnet": "it reads a text from both sides",
}
"""model_type -> why; of what transformers calls causal and is no plain causal language model."""
CLASSIFIER = "ForSequenceClassification"
OWNERS: dict[str, set[str]] = {}
"""Class -> the model_types that transformers has it for; of language models and classifiers."""
for _names in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES):
    for _kind, _name in _names.items():
        OWNERS.setdefault(_name, set()).add(_kind)
        # A family whose language model is Llama's gets a scalar head over that.
        OWNERS.setdefault(_name.replace("ForCausalLM", CLASSIFIER), set()).add(_kind)
ENCODERS = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES, "bert-generation"}
"""model_types that read from both sides unless their config says is_decoder."""
TEXT_PARTS = r"(?:model\.)?(?:language_model|text_model)\."
"""Where checkpoints that read more than text keep the weights of their text part."""


def language_config(config: PreTrainedConfig, path: str) -> PreTrainedConfig:
    """Return the config of the causal language model that a folder is, or has for its text.

    Args:
        config: The folder's config.
        path: Path of the folder, for messages.

    Raises:
        ModelError: when there is none; names what the folder is and what would work.
    """
    kind = config.model_type
    known, name = config.to_dict(), (config.architectures or [type(config).__name__])[0]
    what = f"{path}: {kind} ({name})"
    if kind in UNFIT:
        raise ModelError(f"{what} cannot be trained here, as {UNFIT[kind]}; {INSTEAD}")
    if known.get("is_encoder_decoder"):
        raise ModelError(f"{what} is an encoder-decoder, not a causal language model; {INSTEAD}")
    if kind in ENCODERS and not known.get("is_decoder"):
        raise ModelError(
            f"{what} is an encoder, which reads a text from both sides (is_decoder is not set in "
            f"its config.json); {INSTEAD}"
        )
    named = [each for each in config.architectures or () if each in OWNERS]
    if named and not any(kind in OWNERS[each] for each in named):
        raise ModelError(
            f"{what}: {named[0]} is of model_type {' or '.join(sorted(OWNERS[named[0]]))}; put the "
            "config.json of these weights back"
        )
    text = _text_part(config)
    if text is None:
        raise ModelError(f"{what} has no causal language model in transformers; {INSTEAD}")
    if text is not config and "tie_word_embeddings" in known:
        text.tie_word_embeddings = known["tie_word_embeddings"]  # the whole decides
    return text


def _text_part(config: PreTrainedConfig) -> PreTrainedConfig | None:
    """Return the part that transformers has a causal language model for, if there is one."""
    text = config.get_text_config(decoder=True)
    if type(text) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return text
    # What transformers has for the whole may be for a part that has no name of its own there.
    whole = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return config if whole and causal_class(config).config_class is type(config) else None


def renamed(config: PreTrainedConfig, text: PreTrainedConfig) -> dict[str, str]:
    """Return how the names of weights in a folder become those of its text part, by pattern.

    Args:
        config: The folder's config.
        text: The result of `language_config`.
    """
    if text is config:
        return {}
    prefix = _base_name(text)
    return {
        rf"^{TEXT_PARTS}lm_head\.": "lm_head.",
        rf"^{TEXT_PARTS}(?:model\.)?(?!lm_head)": f"{prefix}.",
    }


def left_out(network: PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Return the tensors of a folder that are for images and sounds, not for its text.

    Args:
        network: The loaded network, the text part or the whole of its folder.
        unexpected: Names that it has no tensors for.
    """
    if not any(map(_is_of_text_part, _renamings(network))):
        return []
    base = base_of(network)
    own = [f"{name}." for name, part in network.named_children() if part is not base]
    stem = next(name for name, part in network.named_children() if part is base)
    own += [f"{stem}.{name}." for name, _ in base.named_children()]
    return [name for name in unexpected if not name.startswith(tuple(own))]


def save_as_text(network: PreTrainedModel) -> None:
    """Let the text part of a folder be saved under the names of a folder of text alone."""
    kept = [renaming for renaming in _renamings(network) if not _is_of_text_part(renaming)]
    vars(network)["_weight_conversions"] = kept


def _renamings(network: PreTrainedModel) -> list[Any]:
    """Return how transformers renamed weights when it loaded them; it saves them back so."""
    return vars(network).get("_weight_conversions") or []


def _is_of_text_part(renaming: Any) -> bool:
    return any(TEXT_PARTS in pattern for pattern in renaming.source_patterns)


def base_of(network: PreTrainedModel) -> nn.Module:
    """Return the base model inside a network; some families do not use the name they declare."""
    if network.base_model is not network:
        return network.base_model
    parts = [part for part in network.children() if isinstance(part, PreTrainedModel)]
    return parts[0] if len(parts) == 1 else network


def _base_name(text: PreTrainedConfig) -> str:
    """Return what a family's language model calls its base model."""
    with torch.device("meta"):
        network = causal_class(text)(text)
    base = base_of(network)
    return next(name for name, part in network.named_children() if part is base)


def causal_class(text: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the language model that transformers has for a config."""
    known: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(text)]
    return known


def provide_classifier(text: PreTrainedConfig) -> None:
    """See to it that AutoModelForSequenceClassification has a linear `score` for a family.

    Where transformers has no such class, one is made and registered there. A folder that is saved
    with it names it in `architectures`, as `CohereForSequenceClassification`.
    """
    if _has_linear_score(text):
        return
    family = causal_class(text)
    stem = family.__name__.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    base = next(kind for kind in family.__mro__[1:] if issubclass(kind, PreTrainedModel))
    about = {"__module__": family.__module__, "__doc__": f"A `score` over {stem}'s base model."}
    names = {"family": family, "base_model_prefix": _base_name(text), "config_class": type(text)}
    made = type(f"{stem}ForSequenceClassification", (_Scored, base), {**about, **names})
    AutoModelForSequenceClassification.register(type(text), made, exist_ok=True)


class _Scored(GenericForSequenceClassification):
    """A linear `score` over what a family's language model has below its head."""

    family: type[PreTrainedModel]
    config: Any
    post_init: Callable[[], None]

    def __init__(self, config: PreTrainedConfig) -> None:
        super(GenericForSequenceClassification, self).__init__(config)  # type: ignore[call-arg]
        self.num_labels = config.num_labels
        setattr(self, self.base_model_prefix, base_of(self.family(config)))
        self.score = nn.Linear(config.hidden_size, config.num_labels or 1, bias=False)
        self.post_init()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> SequenceClassifierOutputWithPast:
        """Return the score at the last token of each row that is no pad, as transformers does."""
        base = getattr(self, self.base_model_prefix)
        scores_BT = self.score(base(input_ids, attention_mask=attention_mask, **options)[0])
        is_text_BT = input_ids != self.config.pad_token_id
        last_B = (is_text_BT * torch.arange(input_ids.shape[1], device=input_ids.device)).argmax(-1)
        rows_B = torch.arange(len(input_ids), device=input_ids.device)
        return SequenceClassifierOutputWithPast(logits=scores_BT[rows_B, last_B])


def _has_linear_score(text: PreTrainedConfig) -> bool:
    if type(text) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return False
    known: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(text)]
    if issubclass(known, GenericForSequenceClassification):
        return True
    with torch.device("meta"):
        return isinstance(dict(known(text).named_children()).get("score"), nn.Linear)


def num_logits(text: PreTrainedConfig) -> int:
    """Return how many logits there are: some networks give fewer than their embedding has rows."""
    known: dict[str, Any] = text.to_dict()
    return known.get("unpadded_vocab_size") or int(text.vocab_size)


def context_of(text: PreTrainedConfig) -> int | None:
    """Return the longest text that is read alike whatever its neighbours; None for no limit.

    A `longrope` rotates all tokens of a forward in another way once one of them is past its first
    context: short texts beside a long one, and not the keys kept from shorter forwards.
    """
    known: dict[str, Any] = text.to_dict()
    rope: dict[str, Any] = known.get("rope_parameters") or {}
    if rope.get("rope_type") == "longrope":
        return rope.get("original_max_position_embeddings")
    name = "max_position_embeddings"
    return known.get(text.attribute_map.get(name, name))
