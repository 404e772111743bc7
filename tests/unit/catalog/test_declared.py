"""Every metric is declared once, and what is shown of it is found by stage, in order."""

from __future__ import annotations

from string import Formatter

import pytest

from rlhf.catalog.declared import (
    DECLARED,
    RENAMED,
    UndeclaredMetricError,
    alarms_of,
    check_names,
    derived_of,
    headlines_of,
    live_of,
    metric,
    plots_of,
)
from rlhf.catalog.metrics import METRICS
from rlhf.catalog.stages import STAGES

NAMES = {name for _, name in DECLARED}
stages = pytest.mark.parametrize("stage", [stage.name for stage in STAGES])


def test_a_metric_is_declared_once_for_a_stage():
    declared = [(stage, each.name) for each in METRICS for stage in each.stages]
    assert len(declared) == len(set(declared)) == len(DECLARED)
    assert {stage for stage, _ in declared} == {stage.name for stage in STAGES}


@pytest.mark.parametrize(
    ("stage", "name", "told"),
    [
        ("ppo", "objective/score", "the nearest is objective/scores"),
        ("sft", "loss/validaton", "the nearest is loss/validation"),
        ("sft", "objective/rlhf_reward_std", "it is declared for ppo"),
        ("start", "lr", f"it is declared for {', '.join(each.name for each in STAGES)}"),
        ("ppo", "zzz", "none is near it"),
    ],
)
def test_a_name_that_is_not_declared_is_an_error_that_says_which_is(stage, name, told):
    with pytest.raises(UndeclaredMetricError) as raised:
        check_names(stage, ["lr"] * (stage != "start") + [name])
    message = str(raised.value)
    assert message.startswith(f"{name}: {stage} has no metric of that name; {told}.")
    assert "rlhf/catalog/metrics/" in message
    assert raised.value.exit_code == 1


def test_a_stage_may_mean_something_of_its_own_by_a_name():
    assert metric("sft", "loss/train").meaning != metric("reward_model", "loss/train").meaning


@stages
def test_what_is_shown_comes_in_order_and_no_two_share_a_place(stage):
    folded, others = plots_of(stage, folded=True), plots_of(stage, folded=False)
    assert all(plot.is_folded for _, plot in folded)
    assert not any(plot.is_folded for _, plot in others)
    for shown in (live_of(stage), headlines_of(stage), alarms_of(stage), others, folded):
        orders = [part.order for _, part in shown]
        assert orders == sorted(set(orders))
    titles = [plot.title for _, plot in (*others, *folded)]
    assert len(titles) == len(set(titles))


@stages
def test_what_a_picture_or_a_headline_names_is_declared_for_its_stage(stage):
    for _, plot in (*plots_of(stage, folded=True), *plots_of(stage, folded=False)):
        check_names(stage, [name for name, _ in plot.others])
    for _, line in headlines_of(stage):
        fields = {field for _, field, _, _ in Formatter().parse(line.says) if field}
        check_names(stage, fields - {"first", "last"})


@stages
def test_what_an_alarm_watches_is_declared_and_its_line_says_what_to_do(stage):
    alarms = alarms_of(stage)
    assert len({alarm.name for _, alarm in alarms}) == len(alarms)
    for _, alarm in alarms:
        check_names(stage, [v for v in alarm.sign.keywords.values() if isinstance(v, str)])
        assert ";" in alarm.says
        assert "\n" not in alarm.says


def test_an_earlier_name_is_no_name_of_today():
    assert not set(RENAMED) & NAMES
    assert set(RENAMED.values()) <= NAMES
    assert len(RENAMED) == sum(len(each.was) for each in METRICS)


def test_a_figure_that_follows_from_others_is_made_for_every_stage():
    figures = {"num_tokens": 30.0, "time/step_s": 1.5}
    for stage in STAGES:
        assert derived_of(stage.name, figures) == {"speed/tokens_per_s": 20.0}
    assert derived_of("start", figures) == {}
