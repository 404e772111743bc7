"""Samples come back as they were written; a repeated step replaces."""

from __future__ import annotations

import math
from dataclasses import replace

from rlhf.observe.files import read_rows
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


def test_what_each_source_said_is_a_column_and_comes_back(tmp_path):
    said = {"taste": 0.5, "a.b-c": -2.0, "odd": math.inf}
    sample = replace(_sample("x"), parts=said)
    write_samples(tmp_path, "ppo", 0, [sample])
    (row,) = read_rows(tmp_path / "samples.jsonl")
    columns = {name: score for name, score in row.items() if name.startswith("reward/")}
    assert columns == {
        "reward/taste/score": 0.5,
        "reward/a.b-c/score": -2.0,
        "reward/odd/score": None,
    }
    assert "parts" not in row
    assert read_samples(tmp_path)["ppo", 0][0].parts == {"taste": 0.5, "a.b-c": -2.0}
