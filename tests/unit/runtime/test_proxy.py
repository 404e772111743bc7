"""RoleProxy: the arguments of each rank, and how answers are joined, by the role's marks."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.future import Ready
from rlhf.flow.metrics import Metrics
from rlhf.roles.policy import Policy
from rlhf.roles.reference import Reference
from rlhf.roles.remote import Remote, remote, rows
from rlhf.roles.reward import Reward, RewardTrainer
from rlhf.roles.sampler import Sampler
from rlhf.roles.value import Value
from rlhf.runtime.proxy import RoleProxy
from tests.models import experience, prompts, rankings, rollout

SIZES = pytest.mark.parametrize("size", (1, 2, 3, 9))


class Many:
    """A group that records its calls, and returns prepared answers."""

    name = "policy"

    def __init__(self, size, answer):
        self.size, self.answer, self.asked = size, answer, []

    def call(self, method, arguments, mark):
        assert len(arguments) == self.size
        self.asked.append((method, arguments, mark))
        return Ready([self.answer(rank, *given) for rank, given in enumerate(arguments)])

    def stream(self, method, arguments, mark):
        yield list(enumerate(self.call(method, arguments, mark).result()))


@SIZES
def test_dealt_rows_come_back_in_the_order_of_the_batch(size):
    batch = rollout(7)
    group = Many(size, lambda rank, share: share.lengths_B.float()[:, None])
    found = RoleProxy(group, Value).values(batch).result()
    assert torch.equal(found, batch.lengths_B.float()[:, None])
    ((method, given, _),) = group.asked
    assert method == "values"
    assert sum(len(share) for (share,) in given) == 7


@SIZES
def test_every_rank_learns_from_the_whole_and_the_first_answers(size):
    batch = experience(rollout(4), *torch.zeros(2, *rollout(4).response_mask_BR.shape))
    group = Many(size, lambda rank, *_: Metrics.of({"rank": float(rank)}))
    assert RoleProxy(group, Value).improve(batch, 3).result()["rank"] == 0
    ((_, given, _),) = group.asked
    assert all(whole is batch and step == 3 for whole, step in given)


@SIZES
def test_a_function_sees_all_rows_once(size):
    group = Many(size, lambda rank, share: torch.arange(float(len(share))))
    batch = rollout(5)
    found = RoleProxy(group, Reward).score_batch(batch).result()
    assert found.tolist() == [0, 1, 2, 3, 4]
    ((_, given, _),) = group.asked
    assert [len(share) for (share,) in given] == [5, *[0] * (size - 1)]


@SIZES
def test_rows_that_ranks_chose_themselves_stand_where_they_say(size):
    def answer(rank, whole, step):
        mine = torch.arange(len(whole))[rank::size].flip(0)
        return mine, mine[:, None].float()

    found = RoleProxy(Many(size, answer), Reference).step_logprobs(rollout(6), 0).result()
    assert found.flatten().tolist() == [0, 1, 2, 3, 4, 5]


@SIZES
def test_chunks_number_the_prompts_of_the_batch(size):
    def answer(rank, share, step):
        written = rollout(len(share)) if len(share) else rollout(1).select([])
        order = torch.arange(len(share)).flip(0)
        columns = written._columns()
        columns["prompts"] = share.prompts
        from rlhf.flow.rollout import RolloutChunk

        return RolloutChunk(**columns, rows_B=torch.arange(len(share))).select(order)

    asked = prompts(7)
    (chunk,) = RoleProxy(Many(size, answer), Sampler).generate(asked, 0)
    assert chunk.rows_B.tolist() == list(range(7))
    assert chunk.prompts == asked.prompts


def test_metrics_of_shares_are_those_of_the_batch():
    group = Many(2, lambda rank, share: Metrics({"loss": (10.0 * (rank + 1), 5.0 * (rank + 1))}))
    from tests.models import demonstrations

    assert RoleProxy(group, Policy).imitation_loss(demonstrations()).result()["loss"] == 2.0


def test_what_keeps_weights_waits_and_what_scores_does_not():
    waited = []

    class Slow(Many):
        def call(self, method, arguments, mark):
            class Answer:
                def result(self):
                    waited.append(method)
                    return [None]

            return Answer()

    port = RoleProxy(Slow(1, None), RewardTrainer)
    port.save("here")
    asked = port.answer_scores(rankings(3))
    assert waited == ["save"]
    del asked


def test_what_is_not_marked_cannot_be_asked():
    with pytest.raises(AttributeError, match=r"Value\._error is not marked @remote"):
        RoleProxy(Many(1, None), Value)._error()
    with pytest.raises(AttributeError, match=r"Value\.nothing is not marked"):
        RoleProxy(Many(1, None), Value).nothing()


def test_a_role_of_ones_own_needs_marks_and_nothing_else():
    class Counter:
        @remote(Remote(deal="rows", join=rows, phase="score"))
        def count(self, share, by):
            return share.lengths_B * by

    group = Many(2, lambda rank, *given: Counter().count(*given))
    assert torch.equal(
        RoleProxy(group, Counter).count(prompts(5), 2).result(), prompts(5).lengths_B * 2
    )
