"""The page of a sweep: verdict, table with links, curves; safe against what it is given."""

from __future__ import annotations

from html.parser import HTMLParser

from rlhf.sweeps.page import write_page
from rlhf.sweeps.table import read_trials
from tests.unit.sweeps.test_table import ended, recorded, swept

VOID = {"meta", "link", "br", "hr"}


class Reader(HTMLParser):
    """Links and text of a page; fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.links, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if tag == "a" and name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text += data


def page(folder, trials):
    return Reader(write_page(folder, "ppo", trials).read_text("utf-8"))


def test_the_best_is_named_with_what_it_paid_and_links_lead_to_reports(tmp_path):
    trials = swept(tmp_path, ("a=1", 1, 1, "done"), ("a=2", 3, 2, "done"), ("a=3", 9, 99, "cut"))
    (tmp_path / "a=2" / "report.html").write_text("")
    read = page(tmp_path, trials)
    assert "Trial 1 (a=2) reaches the highest score, 3.00, at a KL of 2.00 nats" in read.text
    assert "1 of 3 trials diverged" in read.text
    assert read.links == ["a=2/report.html"]
    assert all((tmp_path / link).is_file() for link in read.links)


def test_a_trial_that_diverged_does_not_press_the_curves_flat(tmp_path):
    trials = swept(tmp_path, ("a=1", 1, 1, "done"), ("a=2", 3, 9999, "cut"))
    assert "9,999" not in page(tmp_path, trials).text.partition("Curves")[2]


def test_before_anything_is_finished_the_page_shows_that(tmp_path):
    (tmp_path / "a=1").mkdir()
    read = page(tmp_path, read_trials(tmp_path, [ended("a=1", "interrupted")]))
    assert "No trial has finished yet." in read.text


def test_a_name_cannot_write_the_page(tmp_path):
    name = "a=<script>alert(1)<"
    recorded(tmp_path / name, 1, 1)
    written = write_page(tmp_path, "ppo", read_trials(tmp_path, [ended(name)])).read_text("utf-8")
    assert "<script" not in written
