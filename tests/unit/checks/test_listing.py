"""Listing: every check is named once, comes after what it needs, and stands in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlhf.checks.check import CheckWarning, examine
from rlhf.checks.doctor import diagnose
from rlhf.checks.listing import CHECKS, check_data, check_judge
from rlhf.checks.preflight import preflight
from rlhf.errors import ConfigError, DataError, RLHFError, warned

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"


def test_the_page_has_one_row_a_check_in_order():
    table = PAGE.read_text(encoding="utf-8").partition("| check |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z ]+)` \|", table, re.MULTILINE)
    assert rows == [check.name for check in CHECKS]


def test_what_a_check_needs_was_looked_at_before():
    seen: list[str] = []
    for check in CHECKS:
        assert set(check.needs) <= set(seen)
        assert check.name not in seen
        seen.append(check.name)


def test_rows_are_read(context, tmp_path):
    assert re.match(r"\d prompts to learn from", check_data(context()))
    broken = context(data={"prompts": str(tmp_path / "broken.jsonl")})
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a"}\n{oops\n')
    with pytest.raises(DataError, match=r"broken\.jsonl:2: not JSON at column 2"):
        check_data(broken)


def test_a_judge_is_loaded(context, tmp_path):
    assert check_judge(context()) == "none"
    with pytest.raises(ConfigError, match="nowhere"):
        check_judge(context(evaluation={"judge": str(tmp_path / "nowhere.py:one")}))


def test_what_may_be_wrong_with_rows_is_a_caution(context, tmp_path):
    (tmp_path / "glued.jsonl").write_text(
        '{"prompt": "w2", "completion": "w3"}\n{"prompt": "w2", "completion": "w4"}\n'
    )
    glued = {"demonstrations": str(tmp_path / "glued.jsonl")}
    said = check_data(context("sft", data=glued))
    assert isinstance(said, CheckWarning)
    assert re.match(r"2 of 2 plain answers run into .* the first at .*glued\.jsonl:1: 'w2'", said)


def test_faults_and_what_may_be_wrong_are_told_together(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"prompt": "a", "completion": " b", "odd": 1}\n{"prompt": "", "completion": "c"}\n'
    )
    for policy in ({}, {"policy": {"path": str(tmp_path / "nowhere")}}):
        asked = context("sft", data={"demonstrations": str(rows)}, **policy)
        with pytest.raises(RLHFError, match=r"rows\.jsonl:2: prompt is empty") as caught:
            preflight(asked)
        assert any("columns that are not read: odd" in line for line in warned(caught.value))
        with pytest.raises(ConfigError):
            diagnose(asked)


def test_a_bad_model_hides_no_bad_row_and_a_bad_row_no_bad_model(context, tmp_path):
    bad = str(tmp_path / "broken.jsonl")
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a"}\n{oops\n')
    nowhere, also = str(tmp_path / "nowhere"), str(tmp_path / "also.jsonl")
    for policy in ({"path": nowhere}, {}):
        both = context(
            **({"policy": policy} if policy else {}),
            data={"prompts": bad, "preferences": also},
            reward_model={"path": nowhere},
        )
        told = "\n".join(r.text for r in examine(both, CHECKS) if r.level == "FAIL")
        assert "broken.jsonl:2: not JSON" in told
        assert f"{nowhere}: " in told
