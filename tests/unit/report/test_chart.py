"""Charts are well-formed, described in words, and draw what they are given."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from rlhf.report.chart import HEIGHT, WIDTH, Chart, Line, line_chart
from rlhf.report.stack import stacked_chart, time_phases
from rlhf.report.trace import MOST_POINTS, smooth, thin


def _chart(*lines, **options):
    return Chart(key="k", title="KL", unit="nats", lines=lines, **options)


def _texts(markup):
    return [node.text for node in ElementTree.fromstring(markup).iter("text")]


@pytest.mark.parametrize(
    "points", [[(0.0, 1.0)], [(0, 1), (1, 1)], [(s, s * s) for s in range(999)]]
)
def test_any_curve_draws_inside_its_picture(points):
    root = ElementTree.fromstring(line_chart(_chart(Line(name="", points=points))))
    (dot,) = root.iter("circle")
    assert 0 <= float(dot.get("cx")) <= WIDTH and 0 <= float(dot.get("cy")) <= HEIGHT


def test_title_and_description_carry_the_figures():
    points = [(0, 1.0), (1, 5.0), (2, 3.0)]
    root = ElementTree.fromstring(
        line_chart(_chart(Line(name="", points=points), levels=[("target 6", 6.0)]))
    )
    svg = root.find("svg")
    assert svg.get("role") == "img" and svg.get("aria-labelledby") == "k-title k-desc"
    assert svg.find("title").text == "KL"
    described = svg.find("desc").text
    assert "from 1.00 at step 0 to 3.00 at step 2; lowest 1.00, highest 5.00" in described
    assert "target 6" in described


def test_two_curves_carry_their_names_and_do_not_touch():
    lines = [Line(name=name, points=[(0, 1.0), (9, 2.0)], tone="b") for name in ("one", "two")]
    root = ElementTree.fromstring(line_chart(_chart(*lines)))
    rows = [float(node.get("y")) for node in root.iter("text") if node.text in ("one", "two")]
    assert abs(rows[0] - rows[1]) >= 26


def test_long_curves_are_thinned_and_keep_their_mean():
    points = [(float(s), float(s)) for s in range(10 * MOST_POINTS)]
    thinned = thin(points)
    assert len(thinned) == MOST_POINTS
    assert sum(y for _, y in thinned) / MOST_POINTS == pytest.approx((10 * MOST_POINTS - 1) / 2)
    assert thin(points[:5]) == points[:5]


def test_the_moving_mean_is_centred():
    points = [(float(s), 2.0 * s) for s in range(60)]
    assert smooth(points)[30] == (30.0, 60.0)


NUMBERS = {
    "none": [],
    "one": [0.3],
    "equal": [2.0, 2.0, 2.0],
    "zeros": [0.0, 0.0],
    "negative": [-3.0, -1.0],
    "not a number": [math.nan, 1.0, math.nan],
    "nothing but nan": [math.nan],
    "infinite": [1.0, math.inf, -math.inf, 2.0],
    "huge": [-1.7e308, 1.7e308],
    "tiny": [5e-324, 1e-320],
    "above 1": [1.5, 2.5],
    "far off 0": [1e15, 1e15 + 1],
    "many": [math.sin(step) for step in range(1000)],
}


@pytest.mark.parametrize("percent", [False, True])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_a_line_chart_can_draw_whatever_was_recorded(values, zero, percent):
    points = [(float(step), value) for step, value in enumerate(values)]
    options = {"zero": zero, "percent": percent}
    lines = (Line(name="a", points=points), Line(name="b", points=points[:1], quiet=True))
    _inside(line_chart(_chart(*lines, **options)))
    _inside(line_chart(_chart(Line(name="", points=points), levels=[("at", 9.0)], **options)))
    late = [(1e17 + step, value) for step, value in points]
    _inside(line_chart(_chart(Line(name="", points=late), **options)))


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_stacked_areas_can_draw_whatever_was_recorded(values):
    points = [(float(step), value) for step, value in enumerate(values)]
    _inside(stacked_chart("t", {"learn": points, "generate": points}))
    _inside(stacked_chart("t", {"learn": points, "generate": [(0.0, 1.0)]}))
    _inside(stacked_chart("t", {}))


def test_a_chart_of_nothing_says_so():
    drawn = line_chart(_chart(Line(name="", points=[(0.0, math.nan)])))
    assert "nothing was recorded that is a number" in drawn


def test_a_share_above_1_is_drawn_where_it_is():
    drawn = line_chart(_chart(Line(name="", points=[(0, 1.5), (1, 2.5)]), percent=True))
    assert "from 150\u00a0% at step 0 to 250\u00a0% at step 1" in drawn
    ys = [float(n.get("cy")) for n in ElementTree.fromstring(drawn).iter("circle")]
    assert ys[0] > 12, "the last value is not the edge"


def test_a_kl_of_rounding_alone_is_a_line_at_0():
    noise = [(0, -7.2e-7), (1, 3e-7)]
    drawn = line_chart(
        Chart(key="k", title="KL", unit="nats a response", lines=[Line(name="", points=noise)])
    )
    assert "\u22480" in _texts(drawn) and "e-7" not in drawn


def _inside(markup):
    """Every coordinate is a number within the picture, or above and below it by a label."""
    for node in ElementTree.fromstring(markup).iter():
        for name in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2"):
            at = float(node.get(name, 0))
            assert math.isfinite(at) and -40 <= at <= WIDTH + 40, (node.tag, name, at)
        assert "nan" not in node.get("d", "") and "inf" not in node.get("d", "")


def test_phases_fill_the_step():
    metrics = {
        "time/generate_s": [(0, 4.0), (1, 4.0)],
        "time/learn_s": [(0, 5.0), (1, 5.0)],
        "time/step_s": [(0, 10.0), (1, 10.0)],
        "lr": [(0, 1.0)],
    }
    phases = time_phases(metrics)
    assert phases == {
        "learn": [(0, 5.0), (1, 5.0)],
        "generate": [(0, 4.0), (1, 4.0)],
        "other": [(0, 1.0), (1, 1.0)],
    }
    texts = _texts(stacked_chart("t", phases))
    assert {"learn", "50\u00a0%", "generate", "40\u00a0%", "other", "10\u00a0%"} <= set(texts)
