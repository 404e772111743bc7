"""Folder: which files count, and what they may contain."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlhf.errors import ModelError
from rlhf.models.folder import check_folder, one_line, read_object, stored_tensors, weight_files
from rlhf.models.model_shape import read_config
from tests.models import causal


@pytest.fixture
def copied(folder, tmp_path):
    """A folder to be changed."""
    return Path(shutil.copytree(folder(), tmp_path / "model"))


def set_in(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_good_folder_and_a_name_pass(folder):
    check_folder(folder())
    check_folder("someone/model")


def test_tensors_are_the_folders_without_their_numbers(folder):
    found = stored_tensors(folder())
    stored = load_file(Path(folder()) / "model.safetensors")
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {
        n: (t.shape, t.dtype) for n, t in stored.items()
    }
    assert {t.device.type for t in found.values()} == {"meta"}


def test_parts_and_pickles_are_read_like_one_file(copied):
    whole = stored_tensors(str(copied))
    causal().save_pretrained(copied, max_shard_size="20KB")
    (copied / "model.safetensors").unlink()
    assert len(weight_files(copied)) > 2
    parts = stored_tensors(str(copied))
    assert {n: t.shape for n, t in parts.items()} == {n: t.shape for n, t in whole.items()}
    for file in copied.glob("*.safetensors*"):
        file.unlink()
    torch.save(causal().state_dict(), copied / "pytorch_model.bin")
    assert set(whole) <= set(stored_tensors(str(copied)))


def test_a_part_that_is_a_link_is_of_the_folder(copied, tmp_path):
    shutil.move(copied / "model.safetensors", tmp_path / "blob")
    (copied / "part.safetensors").symlink_to(tmp_path / "blob")
    (copied / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.norm.weight": "part.safetensors"}})
    )
    check_folder(str(copied))


@pytest.mark.parametrize("size", ["num_hidden_layers", "num_labels", "n_routed_experts"])
def test_more_parts_than_the_weights_can_have(copied, size):
    set_in(copied / "config.json", **{size: 10**9})
    with pytest.raises(ModelError, match=rf"{size}=1000000000, but its weights are 20 tensors"):
        check_folder(str(copied))


def test_nested_sizes_are_seen_and_large_windows_are_not(copied):
    set_in(copied / "config.json", rope_theta=10**9, sliding_window=10**9, max_window=-1)
    check_folder(str(copied))
    set_in(copied / "config.json", text_config={"hidden_size": 10**12})
    with pytest.raises(ModelError, match=r"text_config\.hidden_size=1000000000000"):
        check_folder(str(copied))


@pytest.mark.parametrize("eps", [1e9, 0.2, -1e-6, float("inf")])
def test_what_norms_add_to_a_variance_is_small(copied, eps):
    set_in(copied / "config.json", rms_norm_eps=1e-5, text_config={"layer_norm_epsilon": 0})
    check_folder(str(copied))
    set_in(copied / "config.json", text_config={"layer_norm_epsilon": eps})
    with pytest.raises(
        ModelError, match=rf"text_config\.layer_norm_epsilon={re.escape(f'{eps:g}')}; legal: 0 to"
    ):
        check_folder(str(copied))


def test_an_adapter_is_no_model(copied):
    (copied / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="merge it"):
        check_folder(str(copied))


def test_a_file_is_no_folder(copied):
    with pytest.raises(ModelError, match="is a file"):
        check_folder(str(copied / "config.json"))


def test_what_is_no_object_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"a\.json holds a list"):
        read_object(tmp_path / "a.json")


def test_an_error_fits_a_line():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyError("x")) == "KeyError: 'x'"
    assert one_line(AssertionError()) == "AssertionError"
    assert len(one_line(ValueError("x" * 10_000))) == 300


def test_a_config_that_asks_for_a_hundred_million_layers_is_refused_at_once(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "llama", "num_hidden_layers": 100000000}', encoding="utf-8")
    with pytest.raises(
        ModelError, match="num_hidden_layers=1e[+]08, and a model has at most 10,000"
    ):
        read_config(str(tmp_path))
