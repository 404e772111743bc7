"""Remote: marks stand on the roles' own methods, and say for each how it is asked."""

from __future__ import annotations

from rlhf.roles.policy import Policy
from rlhf.roles.precision_probe import PrecisionProbe
from rlhf.roles.reference import Reference
from rlhf.roles.remote import Remote, mark_of, remote
from rlhf.roles.reward import Reward, RewardTrainer
from rlhf.roles.sampler import Sampler
from rlhf.roles.value import Value

ROLES = (Policy, PrecisionProbe, Reference, Reward, RewardTrainer, Sampler, Value)
MARKS = {(r.__name__, n): mark_of(r, n) for r in ROLES for n in dir(r) if mark_of(r, n)}


def test_a_marked_method_is_the_method_it_was():
    @remote(Remote(phase="score"))
    def double(number):
        return 2 * number

    class Role:
        doubled = staticmethod(double)

    assert Role.doubled(3) == 6
    assert mark_of(Role, "doubled").phase == "score"
    assert mark_of(Role, "nothing") is None


def test_only_a_function_leaves_the_device_to_others():
    free = [name for name, mark in MARKS.items() if not mark.needs_device]
    assert free == [("Reward", "score_batch")]


def test_what_keeps_weights_waits_for_its_end():
    waiting = {name for (_, name), mark in MARKS.items() if mark.blocks}
    assert waiting == {"save", "save_state", "load_state", "normalize"}


def test_every_call_of_a_step_has_its_phase():
    phases = {name: mark.phase for (_, name), mark in MARKS.items() if mark.phase}
    assert phases == {
        "generate": "generate",
        "step_logprobs": "score",
        "reference_logprobs": "score",
        "values": "score",
        "score_rows": "score",
        "score_batch": "score",
        "improve": "learn",
        "imitate": "learn",
        "rank": "learn",
    }
