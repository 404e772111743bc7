"""The page shows the outcome, leaves out what is missing, and runs nothing it was given."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from rlhf.observe import files
from rlhf.observe.samples import Sample, write_samples
from rlhf.observe.spans import KeptTrace, Span, StepTrace, append_trace
from rlhf.report import write_report

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "hr"}


class _Page(HTMLParser):
    """The tags, attributes and text of a page; fails on tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _read(path):
    page = _Page()
    page.feed(path.read_text("utf-8"))
    assert page._open == []
    return page, "".join(page.text)


def _metrics(run, stage, values):
    rows = [
        {
            "stage": stage,
            "step": step,
            "time": 0.0,
            "metrics": {n: v[step] for n, v in values.items()},
        }
        for step in range(len(next(iter(values.values()))))
    ]
    files.append_rows(run / files.METRICS, rows)


def _evaluation(run, interval=(0.68, 0.8), win_rate=0.74, **changes):
    figures = {"mean_score": 1.0, "mean_length": 40.0, "distinct_2": 0.5, "eos_rate": 1.0}
    pair = {"prompt": ATTACK, "baseline": ATTACK, "candidate": ATTACK, "baseline_score": 1.0}
    verdict = {
        "judge": ATTACK,
        "judge_agreement": {"accuracy": 0.9},
        "num_prompts": 200,
        "win_rate": win_rate,
        "interval": list(interval),
        "ties": 0.02,
        "candidate": figures,
        "baseline": figures,
        "pairs": [pair],
        **changes,
    }
    (run / files.EVALUATION).write_text(json.dumps(verdict))


def _whole_run(run):
    """Write a small run with every file, and an attack wherever text may stand."""
    _metrics(
        run, "sft", {"loss/train": [3.0, 2.0], "loss/validation": [3.1, 2.1], ATTACK: [1.0, 2.0]}
    )
    _metrics(run, "reward_model", {"accuracy/train": [0.5, 0.7], "loss/train": [0.7, 0.6]})
    _metrics(
        run,
        "ppo",
        {
            "objective/scores": [0.0, 1.0],
            "objective/kl": [0.0, 7.0],
            f"time/{ATTACK}_s": [1.0, 1.0],
            "time/step_s": [2.0, 2.0],
        },
    )
    for stage in ("sft", "ppo"):
        sample = Sample(prompt=ATTACK, response=ATTACK, score=1.0, finished=False, length=3)
        write_samples(run, stage, 2, [sample])
    _evaluation(run)
    group = {"label": ATTACK, "accuracy": 0.8, "count": 10}
    quality = {
        "accuracy": 0.72,
        "interval": [0.7, 0.75],
        "pairs": 100,
        "length_baseline_accuracy": 0.55,
        "calibration_error": 0.03,
        "bins": [{"confidence": 0.6, "accuracy": 0.58, "count": 40}],
        "by_margin": [group],
        "by_length_difference": [group],
    }
    (run / files.REWARD_MODEL).write_text(json.dumps(quality))
    manifest = {
        "rlhf_version": ATTACK,
        "command": ["rlhf", ATTACK],
        "created": 1e9,
        "config": {"policy": {"path": ATTACK}, "ppo": {"kl_target": 6.0}, ATTACK: {"x": ATTACK}},
        "versions": {ATTACK: ATTACK},
        "machine": {"host": ATTACK},
        "data": {ATTACK: {"sha256": ATTACK, "rows": 1200}},
        "seed": 7,
        "stages": {"ppo": {"seconds": 61, "steps": 2}},
    }
    (run / files.MANIFEST).write_text(json.dumps(manifest))
    files.append_rows(run / files.WARNINGS, [{"name": "w", "message": ATTACK}])
    append_trace(run, KeptTrace("ppo", 1, StepTrace(2.0, (Span(ATTACK, 0, ATTACK, 0.0, 1.0),))))


def test_a_whole_run_is_shown_in_one_page(tmp_path):
    _whole_run(tmp_path)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page, text = _read(path)
    assert "prefers the PPO answers to the SFT answers in 74\u00a0% of 200 held-out prompts" in text
    assert "95\u00a0% interval 68\u201380\u00a0%" in text
    for part in (
        "target 6.00",
        "Before: SFT",
        "After: PPO",
        "1,200 rows in 1 file",
        "1 min 01 s",
        "Can the reward model be trusted?",
        "Who works when",
    ):
        assert part in text
    assert text.count("1,200") == 2
    assert page.tags.count("svg") >= 7


def test_nothing_in_a_run_becomes_markup(tmp_path):
    _whole_run(tmp_path)
    page, text = _read(write_report(tmp_path))
    assert "script" not in page.tags and "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert text.count(ATTACK) > 12


def test_the_page_loads_nothing(tmp_path):
    _whole_run(tmp_path)
    page, _ = _read(write_report(tmp_path))
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith("#") or value == "data:," for value in links)
    assert "url(" not in (tmp_path / "report.html").read_text("utf-8")
    assert "default-src 'none'" in dict(page.attributes[:4])["content"]


def test_ids_are_unique_and_cells_have_scope(tmp_path):
    _whole_run(tmp_path)
    page, _ = _read(write_report(tmp_path))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    scopes = [value for name, value in page.attributes if name == "scope"]
    assert len(scopes) == page.tags.count("th")


@pytest.mark.parametrize(
    ("interval", "win_rate", "words"),
    [((0.4, 0.6), 0.5, "coin toss"), ((0.2, 0.4), 0.3, "finds the answers worse")],
)
def test_a_weak_outcome_is_called_what_it_is(tmp_path, interval, win_rate, words):
    _evaluation(tmp_path, interval, win_rate)
    assert words in _read(write_report(tmp_path))[1]


@pytest.mark.parametrize("interval", [(0.9, 1.0), (0.0, 0.1), (0.4, 0.6)])
def test_of_a_few_prompts_nothing_is_concluded(tmp_path, interval):
    _evaluation(tmp_path, interval, sum(interval) / 2, num_prompts=29)
    text = _read(write_report(tmp_path))[1]
    assert "too few to say which is better" in text
    assert "worse" not in text and "coin toss" not in text


def test_the_policies_named_are_those_that_were_compared(tmp_path):
    _evaluation(tmp_path, candidate_path="/models/new", baseline_path="sft")
    assert "new preferred to SFT" in _read(write_report(tmp_path))[1]


def test_verdicts_of_other_judges_stand_in_a_table(tmp_path):
    _evaluation(tmp_path)
    other = {"judge": "letters.py:f", "prompts": ["a/q.jsonl"], "candidate_path": "policy"}
    other |= {"baseline_path": "sft", "num_prompts": 40, "win_rate": 0.25, "interval": [0.1, 0.4]}
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations/letters.json").write_text(json.dumps(other))
    text = _read(write_report(tmp_path))[1]
    assert "letters.py:f" in text and "40 prompts of q.jsonl" in text and "10\u201340" in text


def test_a_run_without_a_timeline_has_every_other_section(tmp_path):
    _whole_run(tmp_path)
    _, before = _read(write_report(tmp_path))
    (tmp_path / files.TIMELINE).unlink()
    _, after = _read(write_report(tmp_path))
    assert "Who works when" in before
    assert "Who works when" not in after
    assert "Time a step" in after


def test_a_run_of_sft_alone_leaves_out_the_rest(tmp_path):
    _metrics(tmp_path, "sft", {"loss/train": [3.0, 2.0]})
    _, text = _read(write_report(tmp_path))
    assert "lowered the training loss from 3.00 to 2.00" in text
    for part in ("Is it better?", "Before and after", "PPO", "Reward model", "trained on what"):
        assert part not in text


def test_an_empty_or_damaged_run_still_has_a_page(tmp_path):
    (tmp_path / files.EVALUATION).write_text('{"win_rate": "high", "pairs": 3')
    (tmp_path / files.MANIFEST).write_text('{"config": 3, "data": [], "stages": {"ppo": 1}}')
    (tmp_path / files.METRICS).write_text('{"stage": "ppo", "step": "x", "metrics": [1]}\nnull\n')
    assert "has not recorded any figures yet" in _read(write_report(tmp_path))[1]


def test_only_the_last_samples_of_the_last_two_stages_are_compared(tmp_path):
    for stage, step, text in (
        ("start", 0, "aa"),
        ("sft", 1, "bb"),
        ("sft", 9, "cc"),
        ("ppo", 1, "dd"),
    ):
        sample = Sample(prompt="p", response=text, score=None, finished=True, length=1)
        write_samples(tmp_path, stage, step, [sample])
    _, text = _read(write_report(tmp_path))
    assert [part in text for part in ("aa", "bb", "cc", "dd")] == [False, False, True, True]


@pytest.mark.parametrize(
    ("after", "told"), [(1.0 + 5e-7, "0"), (1.25, "+0.25"), (0.75, "\u22120.25")]
)
def test_rounding_of_a_score_is_no_change(tmp_path, after, told):
    for stage, score in (("sft", 1.0), ("ppo", after)):
        sample = Sample(prompt="p", response="r", score=score, finished=True, length=3)
        write_samples(tmp_path, stage, 0, [sample])
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    page = _Page()
    page.feed(write_report(tmp_path).read_text(encoding="utf-8"))
    assert told in page.text


def test_each_source_of_the_reward_stands_beside_the_score_of_an_answer(tmp_path):
    for parts, shown in (({"taste": 1.25}, False), ({"taste": 1.25, "style": -0.5}, True)):
        sample = Sample(prompt="p", response="r", score=0.75, finished=True, length=3, parts=parts)
        write_samples(tmp_path, "ppo", 0, [sample])
        _, text = _read(write_report(tmp_path))
        assert ("taste 1.25" in text) == shown
        assert ("style \u22120.5" in text) == shown
        assert "score 0.75" in text


NOTED = ["0.5 x f (function own.py:f)", "1 x m (reward model x)"]
BOTH = {"function": "own.py:f", "function_weight": 0.5, "model_weight": 2.0}


@pytest.mark.parametrize(
    ("manifest", "trains", "told"),
    [
        ({"reward": NOTED}, False, " + ".join(NOTED)),
        (
            {"config": {"reward": BOTH, "reward_model": {"path": "x"}}},
            False,
            "0.5 x function own.py:f + 2 x reward model x",
        ),
        ({"config": {"reward": {**BOTH, "function_weight": 0.0}}}, False, "0 x function own.py:f"),
        ({"config": {"reward": BOTH}}, True, "+ 2 x reward model trained in this run"),
        ({"config": {"seed": 1}}, True, "1 x reward model trained in this run"),
    ],
)
def test_the_page_tells_what_the_reward_is_made_of(tmp_path, manifest, trains, told):
    _metrics(tmp_path, "ppo", {"objective/scores": [0.0, 1.0]})
    if trains:
        _metrics(tmp_path, "reward_model", {"accuracy/train": [0.5, 0.7]})
    whole = {"config": {"policy": {"path": "p"}}, **manifest}
    (tmp_path / files.MANIFEST).write_text(json.dumps(whole))
    _, text = _read(write_report(tmp_path))
    assert told in text


def test_ties_alone_are_no_decision(tmp_path):
    _evaluation(tmp_path, (0.5, 0.5), 0.5, ties=1.0)  # as releases wrote them that had an interval
    text = _read(write_report(tmp_path))[1].replace("\u00a0", " ")
    assert "The judge scores all PPO and SFT answers to 200 held-out prompts alike: no" in text
    assert "Every pair is a tie, so there is no decision." in text
    assert "50\u201350" not in text and "coin" not in text
