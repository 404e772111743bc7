from __future__ import annotations

import pytest

from rlhf.data.hub import read_hub, split_name
from rlhf.errors import DataError


@pytest.mark.parametrize(
    ("path", "name", "config", "split"),
    [
        ("owner/name", "owner/name", None, "train"),
        ("owner/name:test", "owner/name", None, "test"),
        ("owner/name:small:test", "owner/name", "small", "test"),
        ("owner/name:small:", "owner/name", "small", "train"),
        ("owner/name:train[:10%]", "owner/name", None, "train[:10%]"),
        ("owner/name:small:train[:10%]", "owner/name", "small", "train[:10%]"),
        ("folder:x/name", "folder:x/name", None, "train"),
    ],
)
def test_names_configs_and_splits(path, name, config, split):
    assert split_name(path) == (name, config, split)


def test_a_config_of_a_data_set_is_read_and_a_missing_split_lists_those_there(tmp_path, write):
    for config in ("small", "large"):
        (tmp_path / config).mkdir()
        write(f"{config}/train.jsonl", [{"text": config}])
        write(f"{config}/test.jsonl", [{"text": f"{config} test"}])
    names = "".join(f"- config_name: {c}\n  data_dir: {c}\n" for c in ("small", "large"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{names}---\n")
    found = list(read_hub(f"{tmp_path}:small:test"))
    assert found == [({"text": "small test"}, f"{tmp_path}:small:test:0")]
    with pytest.raises(DataError, match="train.*test"):
        list(read_hub(f"{tmp_path}:large:nosuch"))
    with pytest.raises(DataError, match=r"small.*large|large.*small"):
        list(read_hub(f"{tmp_path}:middle:test"))
