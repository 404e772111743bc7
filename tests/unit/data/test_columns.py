from __future__ import annotations

import pytest

from rlhf.data.columns import as_text, fitting, misfit, options_of, spoken
from rlhf.errors import DataError

LEGAL = (("prompt", "completion"), ("messages",))


def test_the_first_legal_set_with_values_fits():
    assert fitting({"messages": [], "prompt": "x", "completion": "y"}, LEGAL) == LEGAL[0]
    assert fitting({"messages": [], "prompt": "x", "completion": None}, LEGAL) == LEGAL[1]
    assert fitting({"prompt": "x"}, LEGAL) is None


def test_the_nearest_set_is_named():
    assert "nearest: messages (missing: messages)" in misfit(frozenset({"message"}), LEGAL)
    assert "columns (none) fit" in misfit(frozenset(), LEGAL)


def test_nulls_of_a_table_are_dropped_at_any_depth():
    call = {"function": {"name": "clock", "arguments": None}}
    row = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    expected = [{"role": "assistant", "tool_calls": [{"function": {"name": "clock"}}]}]
    assert as_text(row, "messages") == expected
    assert options_of(
        {"tools": [{"name": "clock", "unit": None}], "chat_template_kwargs": None}
    ) == {"tools": [{"name": "clock"}]}


def test_a_tool_call_is_an_answer_and_silence_is_not():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "clock"}}]}
    assert spoken([call], "chosen") == [call]
    with pytest.raises(DataError, match="chosen is empty"):
        spoken([{"role": "assistant", "content": ""}], "chosen")
