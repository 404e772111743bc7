from __future__ import annotations

import pytest
import torch

from rlhf.data.preferences import load_rankings
from rlhf.errors import DataError

USER = {"role": "user", "content": "hello world"}
GOOD = {"role": "assistant", "content": "good film"}
BAD = {"role": "assistant", "content": "bad film"}


def texts(tokenizer, batch, row):
    pairs = zip(batch.tokens_BKT[row], batch.lengths_BK[row], strict=True)
    return [tokenizer.decode(tokens[:length].tolist()) for tokens, length in pairs]


def test_explicit_and_implicit_pairs_give_the_same_ids(chatml, write, configured):
    rows = [
        {"prompt": "the film: ", "chosen": "good", "rejected": "bad", "margin": 1.5},
        {"chosen": "the film: good", "rejected": "the film: bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ]
    config = configured(preferences=write("a.jsonl", rows))
    batch = load_rankings(config, chatml).train
    assert texts(chatml, batch, 0) == ["the film: good<|im_end|>", "the film: bad<|im_end|>"]
    assert texts(chatml, batch, 2)[1].endswith("assistant\nbad film<|im_end|>")
    for explicit in (0, 2):
        assert torch.equal(batch.tokens_BKT[explicit], batch.tokens_BKT[explicit + 1])
    assert batch.margin_B.tolist() == [1.5, 0, 0, 0]
    assert batch.margin_B.dtype == torch.float32


def test_ranked_answers_may_differ_in_number(chatml, write, configured):
    rows = [
        {"prompt": "the ", "answers": ["film", "world"]},
        {"prompt": [USER], "answers": [[GOOD], [BAD], [{**BAD, "content": "no"}]]},
    ]
    batch = load_rankings(configured(preferences=write("a.jsonl", rows)), chatml).train
    assert batch.tokens_BKT.shape[:2] == (2, 3)
    assert texts(chatml, batch, 0) == ["the film<|im_end|>", "the world<|im_end|>", ""]
    assert batch.lengths_BK[0, 2] == 0
    assert (batch.lengths_BK[1] > 0).all()
    outside = torch.arange(batch.tokens_BKT.shape[2]) >= batch.lengths_BK[..., None]
    assert not batch.tokens_BKT[outside].any()


WRONG = [
    ({"prompt": "x", "chosen": "a", "rejected": "a"}, "chosen equals rejected"),
    ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, "chosen equals rejected"),
    ({"prompt": "x", "answers": ["a", "b", "a"]}, r"answers\[0\] equals answers\[2\]"),
    ({"prompt": "x", "answers": ["a"]}, "at least 2"),
    ({"prompt": "x", "answers": "ab"}, "at least 2"),
    ({"prompt": "x", "answers": ["a", ""]}, r"answers\[1\] is empty"),
    ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt is empty"),
    ({"prompt": "x", "chosen": "", "rejected": "b"}, "chosen is empty"),
    ({"prompt": "x", "chosen": [GOOD], "rejected": [BAD]}, "no prompt"),
    ({"prompt": [USER], "chosen": [USER, GOOD], "rejected": [BAD]}, "chosen starts with role user"),
    ({"chosen": [USER, GOOD], "rejected": [USER]}, "its answer is empty"),
    ({"chosen": [GOOD], "rejected": [BAD]}, "no prompt"),
    ({"prompt": "x", "chosen": "a", "rejected": "b", "margin": "1"}, "margin='1'"),
    ({"prompt": "x", "chosen": "a", "rejected": "b", "margin": float("nan")}, "margin=nan"),
    ({"prompt": "x", "chosen": "a", "rejected": "b", "margin": 10**399}, "margin=1000.*at most 1e"),
    ({"prompt": "x", "chosen": "a", "rejected": "b", "margin": -1e39}, "margin=-1e[+]39; it must"),
    (
        {"prompt": "x", "chosen": "a", "rejected": "b", "margin": -1e300},
        "margin=-1e[+]300; it must",
    ),
    ({"question": "q", "chosen": "a", "rejected": "b"}, "question would not be read"),
    ({"prompt": "x", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "prompt is no message"),
    ({"prompt": "x", "answer": ["a", "b"]}, r"nearest: prompt \+ answers"),
]


@pytest.mark.parametrize(("row", "reason"), WRONG)
def test_wrong_rows_name_file_and_line(row, reason, chatml, write, configured):
    fine = {"prompt": "x", "chosen": "a", "rejected": "b"}
    path = write("a.jsonl", [fine, row])
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{reason}"):
        load_rankings(configured(preferences=path), chatml)


def test_a_copy_of_the_prompt_beside_whole_conversations_is_left_out(chatml, write, configured):
    both = {"chosen": [USER, GOOD], "rejected": [USER, BAD]}
    paths = [write("a.jsonl", [both]), write("b.jsonl", [{"prompt": USER["content"], **both}])]
    one, other = (load_rankings(configured(preferences=path), chatml).train for path in paths)
    assert texts(chatml, one, 0) == texts(chatml, other, 0)


def test_the_longest_answer_decides_what_is_too_long(chatml, write, configured):
    row = {"prompt": "x", "chosen": "a", "rejected": "\u4e2d" * 20}
    path = write("a.jsonl", [row])
    with pytest.raises(DataError, match=r"a\.jsonl:1: 62 tokens, 50 allowed"):
        load_rankings(configured(preferences=path, max_length=50), chatml)


def test_one_prompt_never_lies_on_two_sides(chatml, write, configured):
    rows = [
        {"prompt": f"film {n}: ", "chosen": f"a{k}", "rejected": f"b{k}"}
        for n in range(40)
        for k in range(3)
    ]
    fractions = {"validation_fraction": 0.3, "test_fraction": 0.3}
    found = load_rankings(configured(preferences=write("a.jsonl", rows), **fractions), chatml)
    sides = [
        {texts(chatml, side, row)[0].split(": ")[0] for row in range(len(side))}
        for side in (found.train, found.validation, found.test)
    ]
    assert all(sides)
    assert sum(map(len, sides)) == 40


def test_implicit_pairs_of_one_prompt_share_a_side_though_answers_begin_alike(
    chatml, write, configured
):
    pairs = [("a", "b"), ("ax", "ay"), ("the good", "the bad")]
    rows = [
        {
            "chosen": f"Human: film {n}\nAssistant: {a}",
            "rejected": f"Human: film {n}\nAssistant: {b}",
        }
        for n in range(40)
        for a, b in pairs
    ]
    fractions = {"validation_fraction": 0.3, "test_fraction": 0.3}
    found = load_rankings(configured(preferences=write("a.jsonl", rows), **fractions), chatml)
    sides = [
        {texts(chatml, side, row)[0].split("\n")[0] for row in range(len(side))}
        for side in (found.train, found.validation, found.test)
    ]
    assert all(sides)
    assert sum(map(len, sides)) == 40


def test_empty_sides_keep_their_axes(chatml, write, configured):
    row = {"prompt": "x", "chosen": "a", "rejected": "b"}
    found = load_rankings(configured(preferences=write("a.jsonl", [row])), chatml)
    joined = type(found.test).concat([found.test, found.train])
    assert torch.equal(joined.tokens_BKT, found.train.tokens_BKT)
