"""Folder: checks of the files of a model folder as they are, before a library loads them.

A config can ask for a billion layers, or an index for files elsewhere. Nothing here makes a network
or loads a weight: JSON is parsed, and of weights only names, shapes and dtypes are read.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor

from rlhf.config.section import absent
from rlhf.errors import ModelError

PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Kinds of numbers that weights are kept in without further scales."""
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Files that hold all weights, alone; in the order in which they are looked for."""
OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""JSON files that must hold an object where they are there."""
PARTS = re.compile(r"layers?$|blocks?$|depth$|experts?$|labels$|predict")
"""Settings that count parts of a network; each part has a tensor of its own, or a row of one."""
SIZES = re.compile(r"(size|dim|rank|width|embd|inner|model|heads?|channels|positions?|embeddings)$")
EPSILON = re.compile(r"(^|_)eps(ilon)?$")
MOST_EPSILON = 0.1
"""What norms add to a variance, which is near 1; models have 1e-12 to 1e-5."""
LEAST_MOST = 2**24
"""A size up to this is believed, whatever the weights are."""
MOST_POSITIONS = 2**28
MOST_LAYERS = 10_000
"""Far more than any model has."""


def check_folder(path: str) -> None:
    """Check the files of a local folder; a hub name is not checked.

    Raises:
        ModelError: naming the file that is missing, unreadable, no JSON, or asks for what the
            weights cannot be.
    """
    folder = Path(path)
    if folder.is_file():
        raise ModelError(
            f"{path} is a file; give a model folder, or the name of a model on the hub"
        )
    if gone := absent(path):
        raise ModelError(gone)
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{path}: holds an adapter (adapter_config.json), which is no whole model; merge it "
            "into its base (peft's merge_and_unload) and give the merged folder"
        )
    if not (folder / "config.json").exists():
        raise ModelError(f"{path}: has no config.json; give a whole model folder")
    found = {name: read_object(folder / name) for name in OBJECTS if (folder / name).exists()}
    _check_ids(folder / "generation_config.json", found.get("generation_config.json", {}))
    _check_template(folder / "tokenizer_config.json", found.get("tokenizer_config.json", {}))
    tensors = stored_tensors(path)
    _check_sizes(folder / "config.json", found["config.json"], tensors)
    _check_epsilons(folder / "config.json", found["config.json"])
    _check_settings(folder / "config.json", found["config.json"])
    if not found["config.json"].get("quantization_config"):
        _check_kinds(path, tensors)


def check_layers(file: Path) -> None:
    """Check that a config without weights asks for no more layers than any model has.

    Raises:
        ModelError: when it does; a network of so many blocks would take for ever to outline.
    """
    for name, value in _numbers(read_object(file)):
        if "layer" in name and value > MOST_LAYERS:
            raise ModelError(
                f"{file}: {name}={value:.6g}, and a model has at most {MOST_LAYERS:,} layers; give "
                "the config.json of a model that there is"
            )


def read_object(file: Path) -> dict[str, object]:
    """Return the JSON object a file holds.

    Raises:
        ModelError: when it is no file, no JSON, or no object.
    """
    try:
        if not file.is_file():
            raise OSError("it is no file")
        content = cast("object", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not JSON: {one_line(error)}; fetch it again") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ModelError(f"{file} holds a {kind}, not an object {{...}}; fetch it again")
    return cast("dict[str, object]", content)


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of bounded length."""
    text = "".join(c for c in " ".join(str(error).split())[:300] if c.isprintable())
    return text if isinstance(error, OSError | ValueError) and text else _named(error, text)


def stored_tensors(path: str) -> dict[str, Tensor]:
    """Return the tensors of a local folder by name, on torch's meta device: no numbers are read.

    Raises:
        ModelError: when there are none, or a file is missing, outside the folder, or damaged.
    """
    files = weight_files(Path(path))
    found = {name: tensor for file in files for name, tensor in _tensors(file).items()}
    if not found:
        raise ModelError(f"{path}: its weights are no tensors at all; give a whole model")
    return found


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights, as transformers chooses them.

    Raises:
        ModelError: when there are none, or an index names one that is not there.
    """
    for whole in WHOLE:
        index = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return [folder / whole]
        if index.is_file():
            return _parts(folder, index)
    raise ModelError(
        f"{folder}: holds a config.json but no weights ({' or '.join(WHOLE)}, or an index of "
        "parts); give a whole model"
    )


def _parts(folder: Path, index: Path) -> list[Path]:
    map_ = read_object(index).get("weight_map")
    if not isinstance(map_, dict) or not map_:
        raise ModelError(f"{index}: has no weight_map of tensors; fetch it again")
    names = list(dict.fromkeys(cast("dict[str, object]", map_).values()))
    for name in names:
        if not isinstance(name, str) or _is_outside(name):
            raise ModelError(f"{index}: names {name!r}, which is no file of its folder")
        if not (folder / name).is_file():
            raise ModelError(f"{index}: names {name}, which is not there; fetch the whole model")
    return [folder / cast("str", name) for name in names]


def _is_outside(name: str) -> bool:
    """Return whether a name points outside the folder; links may, as those of caches do."""
    parts = Path(os.path.normpath(name)).parts
    return Path(name).is_absolute() or not parts or parts[0] == ".."


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        return _of_pickle(file) if file.suffix == ".bin" else _of_safetensors(file)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{file} is damaged: {one_line(error)}; fetch or train the model again"
        ) from error


def _of_safetensors(file: Path) -> dict[str, Tensor]:
    from transformers.modeling_utils import str_to_torch_dtype

    found: dict[str, Tensor] = {}
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - no dictionary, it has no iterator
            part = opened.get_slice(name)
            dtype = str_to_torch_dtype[part.get_dtype()]
            found[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return found


def _of_pickle(file: Path) -> dict[str, Tensor]:
    from transformers.modeling_utils import load_state_dict

    loaded = cast("object", load_state_dict(file, map_location="meta"))  # tensors alone, no code
    found = cast("dict[object, object]", loaded if isinstance(loaded, dict) else {})
    if not found or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise ModelError(f"{file} holds no named tensors; give a state dict")
    return cast("dict[str, Tensor]", found)


def _check_ids(file: Path, generation: Mapping[str, object]) -> None:
    """Check the ids that end a response: the only setting of a generation config that is used."""
    for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
        value = generation.get(key)
        ids = cast("list[object]", value) if isinstance(value, list) else [value]
        if value is not None and not all(type(i) is int and i >= 0 for i in ids):
            raise ModelError(f"{file}: {key} is {value!r}; legal: a token id, or a list of them")


def _check_template(file: Path, tokenizer: Mapping[str, object]) -> None:
    template = tokenizer.get("chat_template", "")
    if not isinstance(template, str | list | None):
        raise ModelError(f"{file}: chat_template is {template!r}; legal: a template's text")


def _check_sizes(file: Path, config: dict[str, object], tensors: Mapping[str, Tensor]) -> None:
    """Refuse sizes that no network with these weights can have, before one is made."""
    parts = max([len(tensors), *(size for t in tensors.values() for size in t.shape)])
    numbers = max([LEAST_MOST, *(t.numel() for t in tensors.values())])
    for name, value in _numbers(config):
        key = name.rpartition(".")[2]
        most = parts if PARTS.search(key) else numbers if SIZES.search(key) else math.inf
        most = MOST_POSITIONS if "position" in key else most
        least = 0 if most < math.inf and "window" not in key else -math.inf
        if not least <= value <= most:  # also refuses what is no number
            raise ModelError(
                f"{file}: {name}={value:.15g}, but its weights are {len(tensors)} tensors of at "
                f"most {parts:,} rows; put the config of these weights back"
            )


def _check_epsilons(file: Path, config: dict[str, object]) -> None:
    """Refuse what would leave next to nothing of all that a norm is given."""
    for name, value in _numbers(config):
        if EPSILON.search(name.rpartition(".")[2]) and not 0 <= value <= MOST_EPSILON:
            raise ModelError(
                f"{file}: {name}={value:g}; legal: 0 to {MOST_EPSILON} (models have 1e-12 to "
                "1e-5); put the config of these weights back"
            )


def _check_settings(file: Path, config: Mapping[str, object]) -> None:
    """Refuse keys that would stand in the way of what transformers does with a config."""
    from transformers import PreTrainedConfig

    wrong = [key for key in config if callable(getattr(PreTrainedConfig, key, None))]
    wrong += [key for key in ("distributed_config",) if config.get(key) is not None]
    if wrong:
        raise ModelError(f"{file}: {wrong[0]} is no setting of a model; take it out")


def _check_kinds(path: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no floats, or floats that need scales; loading would convert them."""
    wrong = [n for n, t in tensors.items() if n.endswith("weight") and t.dtype not in PLAIN]
    if wrong:
        raise ModelError(
            f"{path}: {wrong[0]} holds {tensors[wrong[0]].dtype} numbers, and no "
            "quantization_config says how to read them; give a folder with plain weights"
        )


def _numbers(config: Mapping[str, object], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of all numbers in nested objects."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(cast("dict[str, object]", value), f"{above}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{above}{key}", value


def _named(error: BaseException, text: str) -> str:
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
