"""OutputBuffer: tokens are stored where they belong; rows end at a stop or at the limit."""

from __future__ import annotations

import torch

from rlhf.generation.output_buffer import OutputBuffer
from rlhf.generation.sampling import Sampling
from tests.models import prompts

HOW = Sampling(max_new_tokens=3, temperature=1.0, batch_size=4, stop_ids=(9,))


def test_rows_end_at_a_stop_or_at_the_limit():
    written, asked = OutputBuffer(3, HOW, torch.device("cpu")), prompts(3)
    for position, (rows, tokens) in enumerate(
        [([0, 1, 2], [5, 9, 6]), ([2, 0], [7, 5]), ([0, 2], [8, 9])]
    ):
        rows_N = torch.tensor(rows)
        positions_N = torch.full_like(rows_N, position)
        logprobs_N = -torch.tensor(tokens).float()
        written.note(rows_N, positions_N, torch.tensor(tokens), logprobs_N)
    rollout = written.take(asked)
    assert rollout.response_tokens() == [[5, 5, 8], [9], [6, 7, 9]]
    assert rollout.finished_B.tolist() == [False, True, True]
    assert written.has_ended_B.all()
    assert rollout.sampling_logprobs_BR.tolist() == [[-5, -5, -8], [-9, 0, 0], [-6, -7, -9]]
    assert rollout.prompts == asked.prompts


def test_rows_are_taken_once_as_they_end():
    written, asked = OutputBuffer(4, HOW, torch.device("cpu")), prompts(4)

    def note(rows, position, tokens):
        rows_N = torch.tensor(rows)
        positions_N = torch.full_like(rows_N, position)
        written.note(rows_N, positions_N, torch.tensor(tokens), torch.zeros(len(rows)))

    note([0, 1, 2, 3], 0, [5, 9, 6, 9])
    assert (written.num_to_take, written.is_done) == (2, False)
    first = written.take(asked)
    assert first.rows_B.tolist() == [1, 3]
    assert first.response_tokens() == [[9], [9]]
    assert first.tokens_BT.shape[1] == asked.tokens_BP.shape[1] + 1
    assert first.prompts == ("prompt 1", "prompt 3")
    assert written.num_to_take == 0
    note([2, 0], 1, [9, 5])
    note([0], 2, [7])
    assert (written.num_to_take, written.is_done) == (2, True)
    last = written.take(asked)
    assert last.rows_B.tolist() == [0, 2]
    assert last.response_tokens() == [[5, 5, 7], [6, 9]]
    assert last.finished_B.tolist() == [False, True]
    assert last.columns == ({"row": 0}, {"row": 2})
