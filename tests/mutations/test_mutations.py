"""The suite catches what it should: a few mutations are tried, all of them are kept up to date."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import pytest

from tests.mutations.mutation import ROOT, Mutation, MutationError
from tests.mutations.runner import COPIED, Outcome, judge, run
from tests.mutations.table import MUTATIONS

REDUCED = (
    "value-leaks-past-eos",
    "whitening-over-pads",
    "score-on-the-first-pad",
    "no-kl-on-eos",
    "kl-paid-out",
    "adaptive-kl-runs-away",
    "temperature-multiplied",
    "one-shuffle-for-all-epochs",
    "no-clip",
    "value-clip-off",
    "ranking-loss-with-the-wrong-sign",
    "eos-not-learned",
)
"""What CI tries: cheap ones, of many kinds. `make mutations` tries all."""
LEAST = 35
NAMES = [mutation.name for mutation in MUTATIONS]
SHAPING = "tests/unit/algo/test_shaping.py"
HARMLESS = Mutation(
    "no-test-asks-for-it",
    "how many problems are shown, of which these tests know nothing",
    "rlhf/data/problems.py",
    "SHOWN = 20",
    "SHOWN = 21",
    (SHAPING,),
)
BROKEN = Mutation(
    "does-not-run",
    "a name that is not there",
    "rlhf/algo/shaping.py",
    "penalty_BR = -kl_coef *",
    "penalty_BR = -price *",
    (SHAPING,),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=NAMES)
def test_it_still_fits_the_code(mutation):
    mutation.apply()
    assert mutation.file.split("/")[0] == "rlhf"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", mutation.name)
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert file.split("/")[0] in COPIED
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name.partition('[')[0]}(" in text


def test_there_are_enough_and_no_two_have_one_name():
    assert len(MUTATIONS) >= LEAST
    assert max(Counter(NAMES).values()) == 1
    assert max(Counter((m.file, m.old, m.new) for m in MUTATIONS).values()) == 1


def test_a_mutation_that_does_not_fit_is_told():
    fits = MUTATIONS[0]
    for change in ({"old": "no such text"}, {"old": "\n"}, {"new": "("}, {"new": fits.old}):
        with pytest.raises(MutationError, match=fits.name):
            dataclasses.replace(fits, **change).apply()


@pytest.mark.parametrize(
    ("code", "output", "verdict", "told"),
    [
        (0, "3 passed", "survived", ""),
        (
            1,
            "FAILED tests/a.py::test_b[1 - 2] - assert 1 == 2",
            "caught",
            "tests/a.py::test_b[1 - 2]",
        ),
        (
            1,
            "ERROR tests/a.py::test_b - TrainingError: x",
            "caught",
            "tests/a.py::test_b",
        ),
        (1, "FAILED tests/a.py::test_b - NameError: name 'x'", "broken", "NameError: name 'x'"),
        (2, "ERROR tests/a.py - SyntaxError: invalid", "broken", "pytest ended with 2"),
        (4, "ERROR: file or directory not found: a.py", "broken", "pytest ended with 4"),
        (-9, "", "broken", "no answer in time"),
    ],
)
def test_only_a_test_that_ran_and_failed_catches(code, output, verdict, told):
    answer = judge(code, output)
    assert answer.verdict == verdict
    assert answer.told.startswith(told)


@pytest.mark.slow
def test_the_suite_catches_the_reduced_set():
    chosen = [mutation for mutation in MUTATIONS if mutation.name in REDUCED]
    told: list[Outcome] = []
    outcomes = run([*chosen, HARMLESS, BROKEN], told.append, wider=(SHAPING,))
    verdicts = [outcome.answer.verdict for outcome in outcomes]
    missed = [
        f"{o.mutation.name}: {o.answer}" for o in outcomes[:-2] if o.answer.verdict != "caught"
    ]
    assert not missed, "\n".join(missed)
    assert verdicts[-2:] == ["survived", "broken"]
    assert len(chosen) == len(REDUCED)
    assert told == outcomes
