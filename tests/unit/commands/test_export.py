"""Export: the finished policy as one plain folder."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.commands.export import export
from rlhf.config.load import load
from rlhf.errors import ConfigError


@pytest.mark.parametrize(("dtype", "kept"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_weights_are_the_policys_in_the_dtype_asked_for(folder, tmp_path, dtype, kept):
    shutil.copytree(folder(), tmp_path / "run/policy")
    target = export(load({"run_dir": str(tmp_path / "run"), "export": {"dtype": dtype}}))
    assert target == tmp_path / "run/export"
    model = AutoModelForCausalLM.from_pretrained(target)
    assert model.dtype == kept
    source = AutoModelForCausalLM.from_pretrained(folder())
    for ours, theirs in zip(model.parameters(), source.parameters(), strict=True):
        assert torch.equal(ours, theirs.to(kept))
    assert AutoTokenizer.from_pretrained(target).eos_token is not None


def test_nothing_is_exported_from_an_unfinished_run_or_over_something(folder, tmp_path):
    with pytest.raises(ConfigError, match="no finished policy"):
        export(load({"run_dir": str(tmp_path / "run")}))
    shutil.copytree(folder(), tmp_path / "run/policy")
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "run/policy"):
        with pytest.raises(ConfigError, match="not an empty folder"):
            export(load({"run_dir": str(tmp_path / "run"), "export": {"path": str(target)}}))
