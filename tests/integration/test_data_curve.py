"""`rlhf data curve`: nested shares of the rankings, one held-out set, and what more would bring."""

from __future__ import annotations

import json
import random
import shlex

import pytest

from tests.integration.conftest import BAD, ENGINE, FAST, GOOD, NOUNS, SOURCES, finished, write

ASKED = ("run_dir=s", *FAST, SOURCES[1], "data.test_fraction=0.3")


def preferences(num_rows=120):
    """Rankings a third of which are the wrong way round, so that no accuracy is 1."""
    draw = random.Random(3)
    for i in range(num_rows):
        pair = [f" {draw.choice(GOOD)}", f" {draw.choice(BAD)}"]
        if draw.random() < 0.33:
            pair.reverse()
        text = f"The {NOUNS[i % 5]} number {i} was"
        yield {"prompt": text, "chosen": pair[0], "rejected": pair[1]}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with a fine-tuned policy and noisy rankings."""
    home = finished(tmp_path_factory.mktemp("curve"), "sft", "run_dir=s", *FAST, SOURCES[0])
    write(home / "preferences.jsonl", [*preferences()])
    return home


def trained_on(home, name):
    """The manifest's rows of a trial, and what it was measured on."""
    folder = home / "s/data_curve" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    measured = json.loads((folder / "reward_model.json").read_text())
    return manifest["stages"]["reward_model"]["rows"], measured["pairs"], measured["accuracy"]


def test_it_measures_growing_shares_on_the_same_pairs_and_goes_on(start, rlhf, monkeypatch):
    monkeypatch.chdir(start)
    outcome = rlhf("data", "curve", *ASKED)
    assert outcome.code == 0, outcome.err
    found = [trained_on(start, f"1_of_{share}") for share in (8, 4, 2, 1)]
    rows = [row for row, _, _ in found]
    assert rows == sorted(set(rows)) and rows[-1] > 60
    assert len({pairs for _, pairs, _ in found}) == 1
    kept = json.loads((start / "s/data_curve/curve.json").read_text())
    assert [(p["rankings"], p["pairs"], p["accuracy"]) for p in kept["points"]] == found
    assert "".join(kept["told"].split()) in "".join(outcome.out.split())
    assert kept["gain"]["low"] < kept["gain"]["gain"] < kept["gain"]["high"]
    again = rlhf("data", "curve", *ASKED)
    assert again.code == 0 and again.out.count("reward_model: already done") == 4


def test_a_trial_is_made_again_by_the_command_it_tells(start, rlhf, monkeypatch):
    monkeypatch.chdir(start)
    assert rlhf("data", "curve", *ASKED).code == 0
    folder = start / "s/data_curve/1_of_2"
    manifest = json.loads((folder / "manifest.json").read_text())
    words = shlex.split(manifest["command"])[1:]
    single = rlhf(*[word for word in words if not word.startswith("run_dir=")], "run_dir=one")
    assert single.code == 0, single.err
    here, there = ((f / "reward_model.json").read_bytes() for f in (start / "one", folder))
    assert here == there


def test_a_finished_run_lends_its_model_and_stays_what_it_is(start, rlhf, monkeypatch):
    """Its reward model was made with a new policy's settings, which the curve is not told."""
    monkeypatch.chdir(start)
    words = ("run_dir=p", *FAST, *SOURCES[:2], "data.test_fraction=0.3")
    for command in ("sft", "reward_model"):
        assert rlhf(command, *words, "data.validation_fraction=0").code == 0
    run = (start / "p/run.json").read_bytes()
    curve = rlhf("data", "curve", *ENGINE, "run_dir=p", SOURCES[1], "data.test_fraction=0.3")
    assert curve.code == 0, curve.err
    assert (start / "p/run.json").read_bytes() == run
    manifest = json.loads((start / "p/data_curve/1_of_1/manifest.json").read_text())
    assert manifest["config"]["policy"]["path"] == "p/sft"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.test_fraction=0", "data.validation_fraction=0"), "no rankings are held out"),
        (("data.preferences=[{path: preferences.jsonl, weight: 2}]",), "has weight=2"),
        (("data.preferences=null",), "data.preferences is not set"),
        (("data.preferences=gone.jsonl",), "gone.jsonl: no such file"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    start, rlhf, monkeypatch, words, said
):
    monkeypatch.chdir(start)
    asked = (*ENGINE, SOURCES[1], "policy.path=s/sft", "run_dir=empty")
    outcome = rlhf("data", "curve", *asked, *words)
    assert outcome.code == 2 and said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (start / "empty").exists()


def test_it_is_a_sweep_by_itself(start, rlhf, monkeypatch):
    monkeypatch.chdir(start)
    outcome = rlhf("data", "curve", *ASKED, "-m", "seed=1,2")
    assert outcome.code == 2 and "is a sweep by itself" in outcome.err
