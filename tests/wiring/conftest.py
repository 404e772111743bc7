"""One working folder for all tests of the wiring; each command line in it is run once."""

from __future__ import annotations

import pytest

from tests.wiring import kit


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Models under models/, data files and reward.py beside them."""
    folder = tmp_path_factory.mktemp("wiring")
    kit.write_rows(folder)
    for name, seed in (("policy", 0), ("reference", 7), ("other", 8)):
        kit.write_writer(folder / "models" / name, seed=seed)
    for name, seed in (("reward", 1), ("value", 2)):
        kit.write_scorer(folder / "models" / name, seed=seed)
    kit.write_scorer(folder / "models" / "other_words", seed=3)
    kit.other_tokenizer().save_pretrained(folder / "models" / "other_words")
    return kit.Home(folder)
