"""Samples come back as they were written; a repeated step replaces."""

from __future__ import annotations

import math

from rlhf.observe.samples import Sample, prompt_text, read_samples, write_samples


def _sample(response, score=1.0):
    prompt = [{"role": "user", "content": "hi"}]
    return Sample(prompt=prompt, response=response, score=score, finished=False, length=2)


def test_round_trip_and_replacement(tmp_path):
    write_samples(tmp_path, "sft", 3, [_sample("old")])
    write_samples(tmp_path, "ppo", 3, [_sample("other")])
    write_samples(tmp_path, "sft", 3, [_sample("new")])
    assert read_samples(tmp_path) == {("ppo", 3): [_sample("other")], ("sft", 3): [_sample("new")]}


def test_a_score_that_is_not_finite_is_null(tmp_path):
    write_samples(tmp_path, "ppo", 0, [_sample("x", math.nan)])
    assert read_samples(tmp_path)["ppo", 0][0].score is None


def test_prompts_of_both_kinds_read_as_text():
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert prompt_text(messages) == "user: a\nassistant: b"
    assert prompt_text("plain") == "plain"
