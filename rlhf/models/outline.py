"""Outline: what is known from a model folder's config alone: shapes, context, the text part.

Nothing here reads a weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf.config.section import absent
from rlhf.errors import ModelError, RLHFError
from rlhf.models.families import context_of, language_config, provide_classifier, renamed
from rlhf.models.folder import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def num_weights(path: str) -> int:
    """Return how many weights a language model has, by its config alone.

    Raises:
        ModelError: when there is no config.
    """
    return sum(parameter.numel() for parameter in skeleton(path).parameters())


def skeleton(path: str, *, scalar: bool = False) -> PreTrainedModel:
    """Return a model without storage, by its config: a language model, or a classifier.

    Raises:
        ModelError: when there is no config, or no network can be made from it.
    """
    auto = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    config = language_config_of(path)
    with blaming(path, auto.__name__), torch.device("meta"):
        if scalar:
            provide_classifier(config)
        return auto.from_config(config, trust_remote_code=False)


def language_config_of(path: str) -> PreTrainedConfig:
    """Return the config of a folder's or a hub name's causal language model.

    Raises:
        ModelError: when there is no config, or it is of no causal language model.
    """
    config = from_pretrained(AutoConfig, path)
    with blaming(path, "AutoConfig"):
        return language_config(config, path)


def text_options(path: str) -> dict[str, Any]:
    """Return the class that loads the text part of a folder that reads more than text."""
    config = from_pretrained(AutoConfig, path)
    with blaming(path, "AutoConfig"):
        text = language_config(config, path)
        names = renamed(config, text)
    return {"config": text, "key_mapping": names} if names else {"config": text}


def context_length(path: str) -> int | None:
    """Return the longest sequence a model takes, in tokens; None when not in its config."""
    return context_of(language_config_of(path))


def stated(path: str, name: str) -> int | None:
    """Return a number of a model's config by transformers' name; None when it is not there.

    Raises:
        ModelError: when there is no config.
    """
    text = language_config_of(path)
    with blaming(path, "AutoConfig"):
        return text.to_dict().get(text.attribute_map.get(name, name))


def absent_ids(path: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the rows of a model's embedding that stand for no token: often it is rounded up."""
    rows = stated(path, "vocab_size") or 0
    return tuple(sorted(set(range(rows)) - set(tokenizer.get_vocab().values())))


def from_pretrained(auto: Any, path: str, **options: Any) -> Any:
    """Ask one of transformers' Auto classes for a path; it never runs a folder's own code.

    Raises:
        ModelError: when it cannot.
    """
    if gone := absent(path):
        raise ModelError(gone)
    with blaming(path, auto.__name__):
        return auto.from_pretrained(path, trust_remote_code=False, **options)


@contextmanager
def blaming(path: str, what: str) -> Iterator[None]:
    """Raise a library's error about a model folder as one line that names the folder.

    Configs hold anything, and transformers raises anything over them.

    Raises:
        ModelError: for every error.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except RLHFError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path}: not a model {what} can load ({one_line(error)}); give a local folder with "
            "config.json and safetensors, or the name of a model on the hub"
        ) from error
