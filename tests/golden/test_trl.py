"""TRL as an oracle: the same rows and the same model give the same ids, masks and reward losses.

TRL is a dependency of the tests alone. Its trainers are built, asked and thrown away; none trains.
Differences by choice are written down where they show.
"""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from datasets import Dataset

from rlhf.config.data import DataConfig
from rlhf.data.columns import fitting
from rlhf.data.demonstrations import load_demonstrations
from rlhf.data.layouts import recognise
from rlhf.data.preferences import LEGAL, load_rankings, parse_ranking
from rlhf.data.problems import Problems
from rlhf.data.rows import Row
from rlhf.data.tokenizer import CHAT_TEMPLATE
from rlhf.flow.text import Rankings
from tests.models import alone, causal, classifier, experiment, rankings, tokenizer
from tests.specs import assigned

TEXTS = ["what a good film?", " it was the best film of the world", " it was bad", "and why?"] * 3
MARKED = CHAT_TEMPLATE.replace(
    "{{ message['role'] + '\\n' + message['content'] + eos_token + '\\n' }}",
    "{{ message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ message['content'] + eos_token + '\\n' }}{% endif %}",
)
"""The project's own template, with the markers by which TRL finds assistant turns."""


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


ASKED, GOOD, BAD = (text for text in TEXTS[:3])
PLAIN = {"prompt": ASKED, "chosen": GOOD, "rejected": BAD}
PLAIN_WHOLE = {"chosen": ASKED + "\n" + GOOD, "rejected": ASKED + "\n" + BAD}
TALK_WHOLE = {
    "chosen": [user(ASKED), assistant(GOOD)],
    "rejected": [user(ASKED), assistant(BAD)],
}
LONG_TALK_WHOLE = {
    "chosen": [user(ASKED), assistant(BAD), user("and why?"), assistant(GOOD)],
    "rejected": [user(ASKED), assistant(BAD), user("and why?"), assistant(BAD)],
}
TALK = {
    "prompt": [user(ASKED)],
    "chosen": [assistant(GOOD)],
    "rejected": [assistant(BAD)],
}
MARGIN = {"margin": [0.0, 0.5, 1.5, 3.0]}


@pytest.fixture(scope="module")
def words():
    """The tokenizer of both sides."""
    made = tokenizer(TEXTS)
    made.chat_template = MARKED
    return made


@pytest.fixture
def options(tmp_path):
    """What every trainer of TRL is told: no device, no tracker, no cut."""
    return {
        "output_dir": str(tmp_path / "trl"),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "max_length": None,
        "gradient_checkpointing": False,
    }


@pytest.fixture
def reward_trainer(options, words):
    """Build TRL's reward trainer over rows."""
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    def build(network, rows, **changes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return RewardTrainer(
                model=network,
                args=RewardConfig(**options, **changes),
                train_dataset=Dataset.from_list(rows),
                processing_class=words,
            )

    return build


@pytest.fixture
def sft_trainer(options, words):
    """Build TRL's SFT trainer over rows."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    def build(rows, **changes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SFTTrainer(
                model=causal(),
                args=SFTConfig(**options, **changes),
                train_dataset=Dataset.from_list(rows),
                processing_class=words,
            )

    return build


def read(tmp_path, kind, rows):
    """Return the settings that read rows, none of them held out."""
    file = tmp_path / f"{kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DataConfig(**{kind: str(file), "validation_fraction": 0, "test_fraction": 0})


def pairs() -> Rankings:
    """Return ragged pairs with margins."""
    batch = rankings(4, 2, seed=6)
    lengths_BK = (batch.tokens_BKT != 0).sum(-1)
    lengths_BK[::2, -1] = 3
    batch.tokens_BKT[::2, -1, :3] = torch.tensor([41, 42, 43])
    return Rankings(
        tokens_BKT=batch.tokens_BKT,
        lengths_BK=lengths_BK,
        margin_B=torch.tensor(MARGIN["margin"]),
    )


def as_trl(batch: Rankings, *, margin: bool) -> list[dict[str, object]]:
    """Return tokenized rows in TRL's columns."""
    rows = []
    for ids_KT, lengths_K, wanted in zip(
        batch.tokens_BKT, batch.lengths_BK, batch.margin_B, strict=True
    ):
        chosen, rejected = (
            ids[:n].tolist() for ids, n in zip(ids_KT, lengths_K.tolist(), strict=True)
        )
        rows.append({"chosen_ids": chosen, "rejected_ids": rejected})
        if margin:
            rows[-1]["margin"] = float(wanted)
    return rows


@pytest.mark.parametrize("margin", (False, True))
@pytest.mark.parametrize("center", (None, 0.1))
def test_the_ranking_loss_and_its_gradient_are_trls(folder, reward_trainer, margin, center):
    # correctness 12, 15: same model, same pairs, with and without margin and centring.
    batch, rows = pairs(), as_trl(pairs(), margin=margin)
    network = classifier(seed=1)
    trainer = reward_trainer(network, rows, center_rewards_coefficient=center)
    loss = trainer.compute_loss(network, trainer.data_collator(rows))
    loss.backward()
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    asked = experiment(
        reward_model={"margin_coef": float(margin), "center_coef": center or 0.0},
        engine={"backend": "torch", "max_tokens_per_microbatch": 20},
    )
    path = folder("llama", "classifier")
    learner = assigned("reward_trainer", path, asked)(alone())
    found = learner.rank(batch)
    assert found["loss/train"] == pytest.approx(loss.item(), rel=1e-5)
    assert found["grad_norm"] == pytest.approx(torch.stack(norms).norm().item(), rel=1e-4)
    said = trainer._metrics[["eval", "train"][network.training]]
    assert found["accuracy/train"] == pytest.approx(said["accuracy"][0])
    assert found["margin"] == pytest.approx(said["margin"][0], rel=1e-4)


@pytest.mark.parametrize("row", (PLAIN, PLAIN_WHOLE, TALK, TALK_WHOLE, LONG_TALK_WHOLE))
def test_preferences_become_the_same_ids(tmp_path, reward_trainer, words, row):
    # correctness 12: both end with EOS; what a template writes behind it is cut here.
    ours = load_rankings(read(tmp_path, "preferences", [row]), words).train
    theirs = reward_trainer(classifier(), [row]).train_dataset[0]
    for place, name in enumerate(("chosen_ids", "rejected_ids")):
        length = int(ours.lengths_BK[0, place])
        ids = ours.tokens_BKT[0, place, :length].tolist()
        assert ids == theirs[name][:length]
        assert ids[-1] == words.eos_token_id
        assert words.decode(theirs[name][length:]).strip() == ""


TURNS = [user(ASKED), assistant(BAD), user("and why?"), assistant(GOOD)]
DEMONSTRATIONS = {
    "plain pair": ({"prompt": ASKED, "completion": GOOD}, {}),
    "already ended": ({"prompt": ASKED, "completion": GOOD + "<|eos|>"}, {}),
    "text": ({"text": ASKED + GOOD}, {}),
    "chat pair": ({"prompt": TURNS[:1], "completion": TURNS[1:2]}, {}),
    "long chat pair": ({"prompt": TURNS[:3], "completion": TURNS[3:]}, {}),
    "chat": ({"messages": TURNS}, {"assistant_only_loss": True}),
}


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_demonstrations_become_the_same_ids_and_mask(tmp_path, sft_trainer, words, name):
    # correctness 1, 2, 5: the answer and its EOS are learned, the prompt is not.
    row, changes = DEMONSTRATIONS[name]
    ours = load_demonstrations(read(tmp_path, "demonstrations", [row]), words).train
    theirs = sft_trainer([row], **changes).train_dataset[0]
    length = int(ours.lengths_B[0])
    assert ours.tokens_BT[0].tolist() == theirs["input_ids"][:length]
    assert ours.tokens_BT[0, -1] == words.eos_token_id
    assert words.decode(theirs["input_ids"][length:]).strip() == ""
    learned = [label != -100 for label in theirs["labels"]]
    # Nothing predicts the first token: TRL labels it all the same, and drops it in the loss.
    assert ours.loss_mask_BT[0, 1:].tolist() == learned[1:length]
    assert ours.loss_mask_BT[0].any()
    assert bool(ours.loss_mask_BT[0, -1])


def understood(row):
    return parse_ranking(Row(row, "rows.jsonl:1"), fitting(row, LEGAL))


@pytest.mark.parametrize("row", (TALK_WHOLE, LONG_TALK_WHOLE))
def test_the_prompt_of_two_conversations_is_trls(row):
    # correctness 2: the turns both share.
    from trl.data_utils import extract_prompt

    wanted, found = extract_prompt(row), understood(row)
    assert found.prompt == wanted["prompt"]
    assert list(found.answers) == [wanted["chosen"], wanted["rejected"]]


@pytest.mark.parametrize("row", (PLAIN, TALK))
def test_a_given_prompt_stays_as_it_is(row):
    from trl.data_utils import maybe_extract_prompt

    wanted, found = maybe_extract_prompt(row), understood(row)
    assert (found.prompt, *found.answers) == tuple(
        wanted[name] for name in ("prompt", "chosen", "rejected")
    )


@pytest.mark.parametrize(
    ("row", "shared"),
    (
        (PLAIN_WHOLE, ASKED),
        ({"chosen": "say: it was good", "rejected": "say: it was bad"}, "say: it was"),
        ({"chosen": "Q: a?\nA: the film", "rejected": "Q: a?\nA: the plot"}, "Q: a?"),
    ),
)
def test_two_texts_stay_whole_and_share_what_trl_finds(row, shared):
    # TRL cuts where the letters part. Here no cut is needed, as a score is read at the end; the
    # prompt only says on which side a row falls, so it ends with a line, which is the same in all
    # rows of one prompt.
    from trl.data_utils import extract_prompt

    wanted, found = extract_prompt(row), understood(row)
    assert found.prompt is None
    assert found.answers == (row["chosen"], row["rejected"])
    assert found.answers == tuple(wanted["prompt"] + wanted[n] for n in ("chosen", "rejected"))
    assert found.key == shared
    assert wanted["prompt"].startswith(shared)


def meant(kind, row):
    """What a row of a public layout is read as, before any tokenizer."""
    (found,) = recognise.as_trl(
        [Row(row, "a.jsonl:1")], kind, LEGAL, Problems("a.jsonl"), chats=True
    )
    return {name: found.values[name] for name in ("prompt", "chosen", "rejected", "messages")
            if name in found.values}  # fmt: skip


def test_layouts_are_read_as_by_trls_own_preparation():
    from trl.data_utils import extract_prompt, maybe_convert_to_chatml, maybe_extract_prompt

    turns = [{"from": "system", "value": "Be brief."}, {"from": "user", "value": ASKED},
             {"from": "assistant", "value": GOOD}]  # fmt: skip
    chat = {"conversations": turns}
    assert meant("demonstrations", chat) == maybe_convert_to_chatml(json.loads(json.dumps(chat)))
    for whole in (TALK_WHOLE, LONG_TALK_WHOLE):
        first = whole["chosen"][0]["content"]
        row = {"prompt": first, **whole}
        assert meant("preferences", row) == maybe_extract_prompt(row) == extract_prompt(whole)
        names = {"user": "Human", "assistant": "Assistant"}
        dialogues = {
            side: "".join(f"\n\n{names[m['role']]}: {m['content']}" for m in talk)
            for side, talk in whole.items()
        }
        assert meant("preferences", dialogues) == extract_prompt(whole)
