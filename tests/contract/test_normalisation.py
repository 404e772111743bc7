"""A reward model's normalisation through ZeRO: ranks, exported folder and value role agree."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.rollout import Rollout
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import ScalarModel
from tests.models import experiment, rankings
from tests.specs import on

pytestmark = pytest.mark.ray


def as_rollout(tokens_BT, lengths_B):
    """Take the whole texts as responses to their first token, with a slot to read after each."""
    response_lengths_B = lengths_B - 1
    rows = len(tokens_BT)
    return Rollout(
        tokens_BT=tokens_BT,
        prompt_lengths_B=torch.ones(rows, dtype=torch.long),
        response_lengths_B=response_lengths_B,
        finished_B=torch.ones(rows, dtype=torch.bool),
        sampling_logprobs_BR=torch.zeros(rows, int(response_lengths_B.max())),
        prompts=("",) * rows,
        columns=({},) * rows,
    )


@pytest.mark.parametrize("stage", (1, 3))
def test_two_ranks_write_the_scores_they_give(slot, folder, tmp_path, stage):
    # correctness 19: score before save == after load, in the reward model and in the value role.
    asked = experiment("deepspeed", engine={"backend": "deepspeed", "zero_stage": stage})
    group = slot("two")
    start = folder("llama", "classifier")
    port, batch = on(group, "reward_trainer", start, asked), rankings()
    port.rank(batch).result()
    port.normalize({"mean": 0.1 + 0.2, "std": 1 / 3})
    before_BK = port.answer_scores(batch).result()
    port.save(tmp_path)
    model = ScalarModel(load_scalar(str(tmp_path), "trained"))
    assert (model.score_mean, model.score_std) == (0.1 + 0.2, 1 / 3)
    present_BK = batch.lengths_BK > 0
    tokens_NT, lengths_N = batch.tokens_BKT[present_BK], batch.lengths_BK[present_BK]
    ends_N = torch.arange(len(tokens_NT)) * tokens_NT.shape[1] + lengths_N - 1
    with torch.no_grad():
        after_N = model(tokens_NT, ends_N)
        # A value is read before each token, so the last is that of the text without its end.
        value_N = model(tokens_NT, ends_N - 1)
    torch.testing.assert_close(after_N, before_BK[present_BK], rtol=0, atol=3e-5)
    found_NR = on(group, "value", tmp_path, asked).values(as_rollout(tokens_NT, lengths_N)).result()
    last_N = found_NR[torch.arange(len(tokens_NT)), lengths_N - 2]
    torch.testing.assert_close(last_N, value_N, rtol=0, atol=3e-5)
    assert before_BK[present_BK].std() > 0.1
