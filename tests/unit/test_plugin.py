"""FILE.py:NAME becomes a function; rewards and estimators are loaded alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.errors import ConfigError
from rlhf.plugin import fetched, load, shipped


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


def test_what_the_project_ships_is_found_beside_the_package() -> None:
    assert (shipped("conf") / "config.yaml").is_file()
    assert (shipped("examples") / "smollm2" / "smollm2.py").is_file()


def test_packaged_is_short_for_a_function_of_an_example() -> None:
    rows = load("packaged:movie_reviews/prompts_test", "data source")()
    assert len({row["prompt"] for row in rows}) == len(rows) == 37
    for spec, message in (
        ("packaged:movie_reviews/prompt", "the file defines no prompt; nearest: prompts$"),
        ("packaged:movie_reviews", "the file defines no such thing; it has demonstrations, "),
        ("packaged:movies/prompts", "no such example; legal: packaged:movie_reviews, packaged:"),
    ):
        with pytest.raises(ConfigError, match=f"^data source {spec}: .*{message}"):
            load(spec, "data source")


@pytest.mark.parametrize("path", ["out/policy", "family/model", "packaged", "a/packaged:smollm2"])
def test_the_path_of_a_model_stays_as_it_is(path: str) -> None:
    assert fetched(path) == path


def test_a_model_that_no_example_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="packaged:smolm2/model: .*legal: .*packaged:smollm2"):
        fetched("packaged:smolm2")
    with pytest.raises(ConfigError, match="packaged:movie_reviews/model: the file defines no mode"):
        fetched("packaged:movie_reviews")
