"""Two answers and a column that says which is better: SHP, webgpt, PKU-SafeRLHF and the like."""

from __future__ import annotations

from typing import Any, cast

from rlhf.data.columns import as_text
from rlhf.data.layouts.layout import (
    Exchange,
    Layout,
    Values,
    assistant,
    by_row,
    entries,
    named,
    need,
    number,
    one_of,
    optional,
    pair,
    told,
    user,
)
from rlhf.data.template import Message, Text
from rlhf.errors import DataError

_CNN_BATCHES = ("batch0_cnndm", "cnndm0", "cnndm2")


def _shp(values: Values) -> Exchange:
    """Ethayarajh et al. 2022: labels is 1 where people preferred A, else 0."""
    answers = {name: assistant(told(values, f"human_ref_{name}")) for name in "AB"}
    first, second = "AB" if one_of(values, "labels", (0, 1)) else "BA"
    return Exchange([user(told(values, "history"))], pair(answers[first], answers[second]))


def _webgpt(values: Values) -> Exchange:
    """Nakano et al. 2021: score_0 and score_1 add to 0, the preferred one above it."""
    question = values["question"]
    asked = (
        named(cast("Values", question), "full_text", "question.full_text")
        if isinstance(question, dict)
        else told(values, "question")
    )
    answers = [
        (number(values, f"score_{k}"), assistant(told(values, f"answer_{k}"))) for k in (0, 1)
    ]
    return Exchange([user(asked)], tuple(answers))


def _pku_saferlhf(values: Values) -> Exchange:
    """Ji et al. 2023: better_response_id is the more helpful of the two."""
    best = one_of(values, "better_response_id", (0, 1))
    answers = [assistant(told(values, f"response_{k}")) for k in (0, 1)]
    return Exchange([user(told(values, "prompt"))], pair(answers[best], answers[1 - best]))


def _helpsteer3(values: Values) -> Exchange:
    """Wang et al. 2025: -3 (response1 is much better) to 3 (response2 is)."""
    context = as_text(values["context"] or "", "context")
    strength = one_of(values, "overall_preference", range(-3, 4))
    answers = [assistant(told(values, f"response{k}")) for k in (1, 2)]
    prompt = [user(context)] if isinstance(context, str) else context
    return Exchange(prompt, ((-strength, answers[0]), (strength, answers[1])))


def _summaries(values: Values) -> Exchange:
    """Stiennon et al. 2020: choice is the number of the better summary; text, as TRL writes it."""
    info = values["info"]
    if not isinstance(info, dict):
        raise DataError("info must be an object")
    both = entries(values, "summaries")
    if len(both) != 2:
        raise DataError(f"summaries holds {len(both)}; it must hold 2")
    best = one_of(values, "choice", (0, 1))
    texts: list[Text] = [named(s, "text", f"summaries[{k}].text") for k, s in enumerate(both)]
    prompt = _article(cast("dict[str, Any]", info), str(values.get("batch")))
    return Exchange(prompt, pair(texts[best], texts[1 - best]))


def _article(info: dict[str, Any], batch: str) -> str:
    if batch in _CNN_BATCHES or not info.get("post"):
        article = named(info, "article", "info.article").replace("\n\n", "\n")
        return f"TITLE: {info.get('title')}\n\n{article}\n\nTL;DR:"
    post = named(info, "post", "info.post").replace("\n\n", "\n")
    return (
        f"SUBREDDIT: r/{info.get('subreddit')}\n\nTITLE: {info.get('title')}\n\n"
        f"POST: {post}\n\nTL;DR:"
    )


def _orca_dpo(values: Values) -> Exchange:
    """Intel's pairs after Mukherjee et al. 2023: a system prompt, a question, two answers."""
    column = "question" if "question" in values else "input"
    system = optional(values, "system")
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    answers = [assistant(told(values, name)) for name in ("chosen", "rejected")]
    return Exchange([*before, user(told(values, column))], pair(*answers))


LAYOUTS = (
    Layout("SHP", (need("history", "human_ref_A", "human_ref_B", "labels"),), by_row(_shp)),
    Layout(
        "webgpt",
        (need("question", "answer_0", "answer_1", "score_0", "score_1"),),
        by_row(_webgpt),
    ),
    Layout(
        "PKU-SafeRLHF",
        (need("prompt", "response_0", "response_1", "better_response_id"),),
        by_row(_pku_saferlhf),
    ),
    Layout(
        "HelpSteer3",
        (need("context", "response1", "response2", "overall_preference"),),
        by_row(_helpsteer3),
    ),
    Layout("summarize-from-feedback", (need("info", "summaries", "choice"),), by_row(_summaries)),
    Layout(
        "orca-dpo",
        (
            need("system", "question", "chosen", "rejected"),
            need("system", "input", "chosen", "rejected"),
        ),
        by_row(_orca_dpo),
        lambda values: not values.get("prompt") and "instruction" not in values,
    ),
)
