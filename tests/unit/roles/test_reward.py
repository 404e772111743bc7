"""Reward: a score at the last token, a function of plain text, and learning from rankings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rlhf.data.retokenize import encode_exchange
from rlhf.data.tokenizer import load_tokenizer
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import ScalarModel
from tests.models import classifier, optimizer, rankings, rollout, tokenizer

JUDGE = """
def judge(prompts, completions, row):
    assert len(prompts) == len(completions) == len(row)
    for text in completions:
        assert "<|" not in text, text
    return [len(text) + 100.0 * number for text, number in zip(completions, row)]
"""


def ended(num_rows):
    """Return a rollout whose finished rows end with EOS."""
    written = rollout(num_rows)
    rows = written.finished_B.nonzero().squeeze(1)
    written.tokens_BT[rows, written.lengths_B[rows] - 1] = 2
    return written


def scores_of(network, rows):
    """Score each row of ids alone."""
    model = ScalarModel(network)
    with torch.no_grad():
        return torch.cat([model(torch.tensor([r]), torch.tensor([len(r) - 1])) for r in rows])


def test_the_model_scores_the_last_real_token(role, folder):
    # correctness 12: whatever stands beside or behind it, in whatever order.
    written = ended(7)
    judge = role("reward", fields={"policy": folder()})
    rows = [r[:n] for r, n in zip(written.tokens_BT.tolist(), written.lengths_B, strict=True)]
    wanted = scores_of(load_scalar(folder("llama", "classifier"), "trained"), rows)
    torch.testing.assert_close(judge.score_rows(written)[:, 0], wanted, rtol=0, atol=1e-5)
    order = torch.tensor([4, 2, 0, 6])
    got = judge.score_rows(written.select(order))[:, 0]
    torch.testing.assert_close(got, wanted[order], rtol=0, atol=1e-5)


def test_a_model_with_other_tokens_reads_the_text(role, folder, tmp_path):
    other = tokenizer(["entirely different words are here"] * 3, vocab_size=280)
    network = classifier(seed=4)
    network.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path)
    written, own = ended(7), load_tokenizer(folder())
    judge = role("reward", path=str(tmp_path), fields={"policy": folder()})
    asked = [own.decode(row[-1]) for row in written.prompt_tokens()]
    answered = zip(asked, written.prompt_tokens(), written.response_tokens(), strict=True)
    texts = [
        own.decode([*prompt[-1:], *row], skip_special_tokens=True).removeprefix(last)
        for last, prompt, row in answered
    ]
    rows = [
        encode_exchange(other, prompt, text, finished=bool(done))
        for prompt, text, done in zip(written.prompts, texts, written.finished_B, strict=True)
    ]
    wanted = scores_of(load_scalar(str(tmp_path), "trained"), rows)
    torch.testing.assert_close(judge.score_rows(written)[:, 0], wanted, rtol=0, atol=1e-5)
    assert judge.score_rows(written.select([]))[:, 0].shape == (0,)


def test_each_exchange_is_rendered_with_the_options_of_its_own_row(role, folder, tmp_path):
    other = tokenizer(["entirely different words are here"] * 3, vocab_size=280)
    other.chat_template = (
        "{{ tools[0]['name'] if tools else '' }}{{ mood }}{% for message in messages %}"
        "{{ message['role'] }}: {{ message['content'] }}{% endfor %}"
    )
    classifier(seed=4).save_pretrained(tmp_path)
    other.save_pretrained(tmp_path)
    written = ended(4)
    asked = replace(
        written,
        prompts=tuple([{"role": "user", "content": "same"}] for _ in range(4)),
        columns=tuple(
            {"chat_template_kwargs": {"mood": "x" * row}, "tools": [{"name": "t" * (row + 1)}]}
            for row in range(4)
        ),
    )
    model = role("reward", path=str(tmp_path), fields={"policy": folder()})
    together_B = model.score_rows(asked)[:, 0]
    alone_B = torch.cat([model.score_rows(asked.select([row]))[:, 0] for row in range(4)])
    torch.testing.assert_close(together_B, alone_B, rtol=0, atol=1e-5)
    for name in ("chat_template_kwargs", "tools"):
        plain = [{k: v for k, v in row.items() if k != name} for row in asked.columns]
        without_B = model.score_rows(replace(asked, columns=tuple(plain)))[:, 0]
        assert ((without_B - together_B).abs() > 1e-4).sum() >= 3, name


def test_a_function_gets_plain_text_and_the_columns(role, folder, tmp_path):
    file = tmp_path / "judge.py"
    file.write_text(JUDGE, encoding="utf-8")
    written, own = rollout(7), load_tokenizer(folder())
    rows = torch.arange(7)
    written.tokens_BT[rows, written.lengths_B - 1] = own.eos_token_id
    judge = role("reward", fields={"policy": folder(), "function": f"{file}:judge"})
    texts = [own.decode(row, skip_special_tokens=True) for row in written.response_tokens()]
    wanted = [len(text) + 100.0 * row for row, text in enumerate(texts)]
    assert judge.score_batch(written)[:, 0].tolist() == wanted
    assert judge.score_batch(written.select([]))[:, 0].tolist() == []


def test_the_ranking_loss_is_bradley_terry_over_the_rows_pairs(role):
    learner, batch = role("reward_trainer"), rankings(6)
    scores_BK = learner.answer_scores(batch).double()
    losses, correct, gaps = [], [], []
    for row in range(6):
        count = int((batch.lengths_BK[row] > 0).sum())
        margin = float(batch.margin_B[row]) if count == 2 else 0.0
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
        differences = torch.stack([scores_BK[row, i] - scores_BK[row, j] for i, j in pairs])
        losses.append(float(-torch.log(torch.sigmoid(differences - margin)).mean()))
        correct += (differences > 0).tolist()
        gaps += differences.tolist()
    metrics = learner.rank(batch)
    assert metrics["loss/train"] == pytest.approx(sum(losses) / 6, rel=1e-5)
    assert metrics["accuracy/train"] == pytest.approx(sum(correct) / len(correct))
    assert metrics["margin"] == pytest.approx(sum(gaps) / len(gaps), rel=1e-4)


def test_a_head_of_zeros_cannot_tell(role):
    # correctness 14: loss ln 2 == 0.693147, accuracy 1/2, as every pair is a tie.
    reward_model = {"margin_coef": 0.0, "optimizer": optimizer()}
    learner = role(
        "reward_trainer", model="causal", fields={"head": "zero"}, reward_model=reward_model
    )
    metrics = learner.rank(rankings(6))
    assert metrics["loss/train"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["accuracy/train"] == 0.5
    assert metrics["margin"] == 0.0


def seen_by(learner, batch):
    """Take a step; return (rows, columns) of every forward."""
    shapes = []
    module = learner.learner.engine.module
    handle = module.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    learner.rank(batch)
    handle.remove()
    return shapes


@pytest.mark.parametrize("max_tokens", (1, 40, 100_000))
def test_every_answer_is_read_once_and_a_prompt_is_never_parted(role, max_tokens):
    # correctness 16: K forwards a row, not K (K - 1); all pairs of a prompt in one batch element.
    num_answers = 4
    batch = rankings(6, num_answers)
    engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
    shapes = seen_by(role("reward_trainer", engine=engine), batch)
    present_BK = batch.lengths_BK > 0
    computed = sum(rows * columns for rows, columns in shapes)
    assert int(batch.lengths_BK.sum()) <= computed <= 1.2 * int(batch.lengths_BK.sum())
    assert 2 * int(present_BK.sum()) < sum(n * (n - 1) for n in present_BK.sum(1).tolist())
    longest = num_answers * int(batch.lengths_BK.max())
    assert all(rows * columns <= max(max_tokens, longest) for rows, columns in shapes)
    if max_tokens == 1:
        assert len(shapes) == len(batch)
    if max_tokens == 100_000:
        assert len(shapes) == 1


@pytest.mark.parametrize("max_tokens", (30, 60, 100_000))
def test_answers_in_one_bin_score_and_learn_as_in_bins_of_their_own(role, max_tokens):
    # correctness 12, 16: packed, never parted, absent answers left out.
    found = []
    for packs in (True, False):
        engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
        learner, batch = role("reward_trainer", engine=engine), rankings(6)
        learner.learner.engine.module.packs = packs
        scores_BK = learner.answer_scores(batch)
        metrics = learner.rank(batch).means()
        found.append((scores_BK, metrics, learner.learner.engine.weights()))
    (packed_BK, packed, weights), (padded_BK, padded, wanted) = found
    torch.testing.assert_close(packed_BK, padded_BK, atol=1e-5, rtol=0)
    assert packed == pytest.approx(padded, rel=1e-4, abs=1e-5)
    for name, weight in wanted.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-4, atol=2e-5)


def test_centring_pulls_every_pairs_sum_to_0(role):
    # correctness 18: the constant that Bradley-Terry leaves open is brought to 0 while learning.
    means, batch = [], rankings(6)
    for center_coef in (0.0, 1.0):
        reward_model = {"optimizer": optimizer(lr=1e-2), "center_coef": center_coef}
        learner = role("reward_trainer", reward_model=reward_model)
        learner.normalize({"mean": -3.0, "std": 1.0})
        for _ in range(20):
            learner.rank(batch)
        means.append(float(learner.answer_scores(batch)[batch.lengths_BK > 0].mean()))
    assert means[0] > 2.0
    assert abs(means[1]) < 0.3 * means[0]


def test_absent_answers_score_zero(role):
    batch = rankings(6)
    scores_BK = role("reward_trainer").answer_scores(batch)
    assert not scores_BK[batch.lengths_BK == 0].any()
    assert scores_BK[batch.lengths_BK > 0].all()


def test_ranking_learns_and_microbatches_change_nothing(role):
    weights = []
    for max_tokens in (30, 100_000):
        engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
        reward_model = {"optimizer": optimizer(lr=1e-2)}
        learner = role("reward_trainer", engine=engine, reward_model=reward_model)
        losses = [learner.rank(rankings(6))["loss/train"] for _ in range(3)]
        assert losses[-1] < losses[0]
        weights.append(learner.learner.engine.weights())
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, rtol=1e-4, atol=2e-5)


def test_normalise_makes_scores_standard(role, tmp_path):
    # correctness 18, 19: mean 0, deviation 1, the same after save and load bit for bit.
    learner, batch = role("reward_trainer"), rankings(6)
    present_BK = batch.lengths_BK > 0
    raw_N = learner.answer_scores(batch)[present_BK]
    learner.normalize({"mean": float(raw_N.mean()), "std": float(raw_N.std())})
    scores_N = learner.answer_scores(batch)[present_BK]
    assert float(scores_N.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(scores_N.std()) == pytest.approx(1.0, abs=1e-5)
    learner.save(tmp_path)
    again = role("reward_trainer", path=str(tmp_path))
    assert torch.equal(again.answer_scores(batch)[present_BK], scores_N)


def test_normalising_turns_no_pair_round(role):
    # correctness 18: pairwise accuracy is unchanged.
    learner, batch = role("reward_trainer"), rankings(12, 4)
    order = learner.answer_scores(batch).argsort(1)
    present_BK = (batch.lengths_BK > 0).all(1)
    learner.normalize({"mean": 5.0, "std": 0.3})
    assert torch.equal(learner.answer_scores(batch).argsort(1)[present_BK], order[present_BK])
    assert present_BK.any()


def test_judge_and_value_start_from_the_normalised_scores(role, folder, tmp_path):
    # correctness 19: the normalisation goes wherever the folder goes, bit for bit.
    learner, batch = role("reward_trainer"), rankings(6)
    learner.rank(batch)
    learner.normalize({"mean": 0.7, "std": 2.5})
    learner.save(tmp_path)
    tokens_BT, lengths_B = batch.tokens_BKT[:, 0], batch.lengths_BK[:, 0]
    positions_B = torch.arange(6) * tokens_BT.shape[1] + lengths_B - 1
    with torch.no_grad():
        wanted = learner.learner.engine(tokens_BT, positions_B)
        judge = role("reward", path=str(tmp_path), fields={"policy": folder()})
        value = role("value", path=str(tmp_path))
        assert torch.equal(value.engine(tokens_BT, positions_B), wanted)
    written = ended(7)
    ends_B = torch.arange(7) * written.tokens_BT.shape[1] + written.lengths_B - 1
    with torch.no_grad():
        wanted = learner.learner.engine(written.tokens_BT, ends_B)
    torch.testing.assert_close(judge.score_rows(written)[:, 0], wanted, rtol=0, atol=1e-5)
