"""Sources: one path, or a mixture of paths with weights."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlhf.config.data import DataConfig, SourceConfig


def test_one_path_is_a_mixture_of_one():
    config = DataConfig(prompts="q.jsonl")
    assert config.sources("prompts") == [SourceConfig(path="q.jsonl", weight=1.0)]
    assert config.sources("preferences") == []


def test_a_mixture_may_name_bare_paths_and_weighted_ones():
    config = DataConfig(demonstrations=["a.jsonl", SourceConfig(path="b.jsonl", weight=0.5)])
    assert [(s.path, s.weight) for s in config.sources("demonstrations")] == [
        ("a.jsonl", 1.0),
        ("b.jsonl", 0.5),
    ]


def test_columns_map_known_names_or_leave_any_out():
    columns = {"prompt": "question", "source": None}
    assert DataConfig(columns=columns).columns == columns
    assert SourceConfig(path="a.jsonl", columns=columns).columns == columns
    with pytest.raises(ValidationError, match="promt: no such column; legal: text, messages"):
        DataConfig(columns={"promt": "question"})
