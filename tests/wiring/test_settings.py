"""Every setting that decides a figure is changed by the command line, and changes just that."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.wiring import kit
from tests.wiring.table import BASES, EFFECTS, HERE


@pytest.mark.parametrize("setting", EFFECTS)
def test_a_setting_changes_what_it_should_and_nothing_else(home, setting):
    effect = EFFECTS[setting]
    base = (*HERE, *BASES[effect.stage], *effect.beside)
    before = home.run(effect.stage, *base)
    after = home.run(effect.stage, *base, *effect.also, f"{setting}={effect.value}")
    assert (before.code, after.code) == (0, 0), before.err + after.err
    found = {short(name) for name in kit.changed(kit.seen(before), kit.seen(after))}
    still = [wanted for wanted in effect.must if not any(fnmatchcase(n, wanted) for n in found)]
    assert not still, f"{setting} did not change {', '.join(still)}"
    allowed = (*effect.must, *effect.may)
    wrong = [name for name in sorted(found) if not any(fnmatchcase(name, a) for a in allowed)]
    assert not wrong, f"{setting} changed {', '.join(wrong)}"


def short(name: str) -> str:
    """Return the name of a figure of PPO's first step without stage and step."""
    return name.removeprefix("ppo 0 ")
