"""Fit: what is missing, left over or misshapen is named; what is tied or of no account is not."""

from __future__ import annotations

import pytest

from rlhf.errors import ModelError
from rlhf.models.fit import check_fit
from tests.models import causal

NONE = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}


def check(**found):
    check_fit("FOLDER", causal(), {**NONE, **found["info"]}, **found.get("options", {}))


def test_nothing_to_say():
    check(info={})


def test_everything_is_named_on_one_line():
    info = {
        "missing_keys": {f"layer.{i}" for i in range(5)},
        "unexpected_keys": {"extra"},
        "mismatched_keys": {("norm", (3,), (32,))},
    }
    with pytest.raises(ModelError) as caught:
        check(info=info)
    told = str(caught.value)
    assert "FOLDER: its weights are not those of its config, a LlamaForCausalLM" in told
    assert "5 missing (layer.0, layer.1, layer.2, ...)" in told
    assert "1 unexpected (extra)" in told
    assert "1 of another shape (norm [3] for [32])" in told
    assert "\n" not in told


def test_a_wrappers_prefix_is_reported():
    with pytest.raises(ModelError, match="save the model without its wrapper"):
        check(info={"missing_keys": {"a"}, "unexpected_keys": {"module.a"}})


def test_a_head_alone_that_is_missing_was_never_trained():
    with pytest.raises(ModelError, match=r"no trained score head \(score.weight is missing"):
        check(info={"missing_keys": {"score.weight"}})


def test_a_head_that_is_to_be_new_may_be_anything():
    new = {"new_head": True}
    check(info={"missing_keys": {"score.weight"}}, options=new)
    check(info={"mismatched_keys": {("score.weight", (2, 8), (1, 8))}}, options=new)
    with pytest.raises(ModelError, match="1 missing"):
        check(info={"missing_keys": {"score.weight", "norm.weight"}}, options=new)


def test_what_may_be_there_in_vain_is_asked_only_then():
    def never():
        raise AssertionError

    check(info={}, options={"spare": never})
    spare = {"spare": lambda: ["lm_head.weight"]}
    check(info={"unexpected_keys": {"lm_head.weight"}}, options=spare)
    with pytest.raises(ModelError, match=r"1 unexpected \(x\)"):
        check(info={"unexpected_keys": {"lm_head.weight", "x"}}, options=spare)
