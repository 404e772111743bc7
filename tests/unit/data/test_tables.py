"""CSV and TSV files as spreadsheets and programs write them."""

from __future__ import annotations

import pytest

from rlhf.data.problems import Problems
from rlhf.data.tables import decoded, read_table
from rlhf.errors import DataError


def read(text, separator=","):
    problems = Problems("a.csv")
    content = text if isinstance(text, bytes) else text.encode()
    rows = list(read_table(content, "a.csv", problems, separator=separator))
    problems.check()
    return rows


def test_cells_with_line_ends_keep_the_line_they_begin_on():
    rows = read('prompt,completion\r\n"a\nb, ""c""",d\n\n"e\n\nf",g\nh,i\n')
    assert [values["prompt"] for values, _ in rows] == ['a\nb, "c"', "e\n\nf", "h"]
    assert [where for _, where in rows] == ["a.csv:2", "a.csv:5", "a.csv:8"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_system_are_read_as_one_in_cells_and_in_texts(end):
    rows = read(end.join(["a,b", '"one', "", 'two",x', 'y,"[{""k"": ""1\\r\\n2""}]"', ""]))
    assert [values["a"] for values, _ in rows] == ["one\n\ntwo", "y"]
    assert [where for _, where in rows] == ["a.csv:2", "a.csv:5"]
    assert rows[1][0]["b"] == [{"k": "1\r\n2"}]
    assert decoded(f"one{end}{end}two{end}".encode(), "a.txt") == "one\n\ntwo\n"


def test_empty_cells_are_null_and_numbers_stay_text():
    assert read("prompt,margin,code\nx,,007\n")[0][0] == {
        "prompt": "x",
        "margin": None,
        "code": "007",
    }


def test_cells_that_are_json_messages_are_messages():
    cell = '"[{""role"": ""user"", ""content"": ""hi""}]"'
    assert read(f"prompt\n{cell}\n")[0][0] == {"prompt": [{"role": "user", "content": "hi"}]}
    assert read('prompt\n"[1, 2] and {x}"\n')[0][0] == {"prompt": "[1, 2] and {x}"}


@pytest.mark.parametrize(
    ("text", "name"), [("a;b\n1,5;2\n", "semicolons"), ("a\tb\n1,5\t2\n", "tabs")]
)
def test_another_separator_is_read_and_told(text, name, caplog):
    assert read(text)[0][0] == {"a": "1,5", "b": "2"}
    assert f"a.csv: its header has no commas; reading as: separated by {name}" in caplog.text


def test_a_column_of_row_numbers_is_left_out_and_told(caplog):
    assert read(",text\n0,x\n")[0][0] == {"text": "x"}
    assert "first column has no name" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n1,2,3\n", r"a\.csv:3: 3 cells where the header has 2"),
        ("a,b\n1\n", r"a\.csv:2: 1 cells where the header has 2"),
        ("a,b,a\n1,2,3\n", r"a\.csv:1: column a stands twice"),
        ("a,,b\n1,2,3\n", r"a\.csv:1: column 2 of the header has no name"),
        ("\n\n", "has no header"),
        ('a,b\n1,2\n"1,2\n3,4\n', r"a\.csv:3: not readable as a table: a quote is never closed"),
        ('a,b\n"x"y,2\n', r"a\.csv:2: not readable as a table"),
        (b"a,b\n1,2\ncaf\xe9,3\n", r"a\.csv:3: not UTF-8 at byte 11 of the file \(0xe9\); save"),
        ("prompt\n\"[{'role': 'user'}]\"\n", r"a\.csv:2: prompt is a list .*json\.dumps"),
    ],
)
def test_what_is_no_table_names_its_line_and_the_remedy(text, reason):
    with pytest.raises(DataError, match=reason):
        read(text)


def test_a_text_in_utf_8_is_decoded():
    assert decoded("é".encode(), "a.txt") == "é"
