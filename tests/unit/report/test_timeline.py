"""The picture of a step: tracks in order, the right step, words on which role waits."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from rlhf.observe.spans import KeptTrace, Span, StepTrace, append_trace
from rlhf.report.read import read_run
from rlhf.report.timeline import (
    MOST_RANKS,
    median_trace,
    timeline_section,
    tracks,
    who_limits,
    works_together,
)

TOGETHER = (
    Span("value", 0, "improve", 5.0, 9.0, "learn"),
    Span("policy", 1, "improve", 5.0, 10.0, "learn"),
    Span("policy", 0, "improve", 5.0, 10.0, "learn"),
    Span("policy", 0, "generate", 0.0, 4.0, "generate"),
    Span("policy", 1, "generate", 0.0, 4.0, "generate"),
    Span("guest", 0, "greet", 4.0, 4.001),
)


def drawn(folder, *traces):
    for step, trace in enumerate(traces):
        append_trace(folder, KeptTrace("ppo", step, trace))
    section = timeline_section(read_run(folder))
    assert section is not None
    return ElementTree.fromstring(f"<section>{section}</section>")


def bars(root):
    return [node for node in root.iter("rect") if node.get("class").startswith("area")]


def share(text):
    return float(text.removesuffix("%"))


def test_tracks_are_in_the_order_of_the_documents_and_their_calls_in_that_of_time():
    grouped = tracks(TOGETHER)
    assert list(grouped) == ["policy", "value", "guest"]
    assert [track.rank for track in grouped["policy"]] == [0, 1]
    assert [span.method for span in grouped["policy"][1].spans] == ["generate", "improve"]


@pytest.mark.parametrize(("seconds", "wanted"), [([3, 1, 2], 2), ([4, 1, 3, 2], 2), ([5], 5)])
def test_the_median_step_is_one_that_was(seconds, wanted):
    traces = [KeptTrace("ppo", step, StepTrace(float(s))) for step, s in enumerate(seconds)]
    assert median_trace(traces).trace.seconds == wanted


def test_one_sentence_names_the_limiting_role_and_how_idle_the_others_are():
    assert who_limits(StepTrace(10.0, TOGETHER)) == (
        "The policy limits the step, busy for 90\u00a0% of its 10 s; idle is the value for "
        "60\u00a0% and the guest for 100\u00a0%; for 10\u00a0% no role works."
    )
    turns = (
        Span("policy", 0, "generate", 0.0, 1.5, "generate"),
        Span("value", 0, "values", 1.5, 2.0, "score"),
    )
    assert not works_together(turns)
    assert who_limits(StepTrace(2.0, turns)) == (
        "The roles take turns in the step: the policy works for 75\u00a0% of its 2.0 s, "
        "the value for 25\u00a0%."
    )
    assert who_limits(StepTrace(1.5, turns[:1])) == (
        "The policy is the only role in the step, busy for 100\u00a0% of its 1.5 s."
    )


def test_ranks_of_one_role_do_not_count_as_working_together():
    assert works_together(TOGETHER)
    assert not works_together([span for span in TOGETHER if span.role == "policy"])


def test_bars_stand_where_their_calls_were_in_the_colour_of_their_phase(tmp_path):
    root = drawn(tmp_path, StepTrace(10.0, TOGETHER))
    seen = [(share(bar.get("x")), share(bar.get("width")), bar.get("class")) for bar in bars(root)]
    policy = [(0.0, 40.0, "area a"), (50.0, 50.0, "area c")]
    assert seen == [*policy, *policy, (50.0, 40.0, "area c"), (40.0, 0.3, "area e")]
    assert len({bar.get("y") for bar in bars(root)}) == 4
    texts = [node.text for node in root.iter("text")]
    assert {"policy, 2 ranks", "10\u00a0% idle", "value", "60\u00a0% idle", "10"} <= set(texts)


def test_every_bar_stays_inside_the_picture(tmp_path):
    late = StepTrace(
        1.0, (Span("policy", 0, "rank", -1.0, 0.2, "learn"), Span("policy", 0, "save", 0.9999, 3.0))
    )
    for bar in bars(drawn(tmp_path, late)):
        assert share(bar.get("x")) >= 0
        assert share(bar.get("x")) + share(bar.get("width")) <= 100


def test_the_picture_is_described_in_words_too(tmp_path):
    root = drawn(tmp_path, StepTrace(10.0, TOGETHER))
    (svg,) = root.iter("svg")
    title, description = (
        next(node.text for node in root.iter() if node.get("id") == name)
        for name in svg.get("aria-labelledby").split()
    )
    assert title == "Step 0 of PPO"
    assert description.startswith(
        "policy (2 ranks): generate 0 to 4.00\u00a0s, improve 5.00 to 10.0\u00a0s. value (1 rank): "
    )


def test_many_ranks_are_counted_not_drawn(tmp_path):
    spans = [Span("policy", rank, "generate", 0.0, 1.0, "generate") for rank in range(40)]
    root = drawn(tmp_path, StepTrace(1.0, tuple(spans)))
    assert len(bars(root)) == MOST_RANKS
    assert f"policy, 40 ranks (first {MOST_RANKS} drawn)" in [n.text for n in root.iter("text")]


def test_only_the_last_steps_of_ppo_are_looked_at(tmp_path):
    append_trace(tmp_path, KeptTrace("sft", 7, StepTrace(1.0, TOGETHER)))
    assert timeline_section(read_run(tmp_path)) is None
    traces = [StepTrace(99.0, TOGETHER)] * 20 + [
        StepTrace(float(10 + step), TOGETHER) for step in range(11)
    ]
    title = next(drawn(tmp_path, *traces).iter("title"))
    assert title.text == "Step 25 of PPO"
