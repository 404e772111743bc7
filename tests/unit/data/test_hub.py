from __future__ import annotations

import pytest

from rlhf.data.hub import split_name


@pytest.mark.parametrize(
    ("path", "name", "split"),
    [
        ("owner/name", "owner/name", "train"),
        ("owner/name:test", "owner/name", "test"),
        ("owner/name:train[:10%]", "owner/name", "train[:10%]"),
        ("folder:x/name", "folder:x/name", "train"),
    ],
)
def test_names_and_splits(path, name, split):
    assert split_name(path) == (name, split)
