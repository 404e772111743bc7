"""FILE.py:NAME becomes a function; rewards and estimators are loaded alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.errors import ConfigError
from rlhf.plugin import load


def test_messages_begin_with_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def one():\n    return 1\nTWO = 2\n")
    assert load(f"{file}:one", "judge")() == 1
    for spec, message in (
        ("nonsense", r"^judge nonsense is not of the form FILE.py:NAME$"),
        (f"{tmp_path}/nobody.py:one", r"^judge .*nobody.py:one: there is no file /.*nobody.py$"),
        (f"{file}:TWO", r"^judge .*:TWO: TWO is a int, not a function$"),
        (f"{file}:on", r"^judge .*:on: the file defines no on; nearest: one$"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(spec, "judge")


def test_a_file_that_does_not_run_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1\nraise SystemExit('no')\n")
    with pytest.raises(ConfigError, match=r"does not import: .*mine.py:2: SystemExit: no"):
        load(f"{file}:one", "judge")
