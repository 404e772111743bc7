"""Fit: whether the tensors of a folder are those of the network that its config describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rlhf.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCORE = re.compile(r"(^|\.)(score|classifier)\.")
"""Names of scalar heads."""
NAMED = 3
"""Tensors of each kind that an error names."""


def check_fit(
    path: str,
    network: PreTrainedModel,
    info: Mapping[str, Any],
    *,
    new_head: bool = False,
    spare: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Check the result of loading; transformers knows which weights are tied, renamed or unused.

    Args:
        path: Path of the folder.
        network: The loaded network.
        info: transformers' loading info: missing_keys, unexpected_keys and mismatched_keys.
        new_head: Whether the scalar head is to be new, so that a stored one does not matter.
        spare: Returns names of tensors that may be unused; called only where some are.

    Raises:
        ModelError: naming tensors that are missing, not expected, or of another shape.
    """
    missing = {name for name in info["missing_keys"] if not (new_head and _is_head(name))}
    others = {
        f"{name} {list(stored)} for {list(wanted)}"
        for name, stored, wanted in info["mismatched_keys"]
        if not (new_head and _is_head(name))
    }
    unexpected = set(info["unexpected_keys"])
    unexpected -= set(spare()) if unexpected else set()
    if missing and all(_is_head(name) for name in missing):
        raise ModelError(
            f"{path}: no trained score head ({', '.join(sorted(missing))} is missing), so scores "
            "would be noise; train it with `rlhf reward_model`, or give a trained one"
        )
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": others}
    text = "; ".join(_listed(sorted(names), kind) for kind, names in kinds.items() if names)
    if text:
        raise ModelError(
            f"{path}: its weights are not those of its config, a {type(network).__name__}: {text}; "
            f"{_remedy(unexpected)}"
        )


def _is_head(name: str) -> bool:
    return SCORE.search(name) is not None


def _listed(names: list[str], kind: str) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} {kind} ({', '.join(names[:NAMED])}{more})"


def _remedy(unexpected: set[str]) -> str:
    if unexpected and all(name.startswith("module.") for name in unexpected):
        return "the names begin with `module.`: save the model without its wrapper"
    return "give config.json and weights of one model"
