"""Few-shot: examples are trained on, ask something else, and hang on the prompt alone."""

from __future__ import annotations

import pytest

from rlhf.data.demonstrations import prepare_demonstrations
from rlhf.data.preferences import prepare_rankings
from rlhf.data.prompts import load_prompts, prepare_prompts
from rlhf.errors import ConfigError, DataError

ROWS = [{"prompt": f"film {n}?", "completion": f" it is {n}"} for n in range(40)]


def prompts_of(prepared):
    return {entry.example.bare: entry.example.asked.prompt for entry in prepared.entries}


def test_so_many_trained_examples_stand_before_each_prompt(plain, write, configured):
    config = configured(demonstrations=write("d.jsonl", ROWS), few_shot=2, test_fraction=0.4)
    bare = configured(demonstrations=config.demonstrations, test_fraction=0.4)
    sides = prepare_demonstrations(bare, plain)
    trained = {sides.entries[i].example.asked.prompt for i in sides.sides["train"]}
    answers = {row["prompt"]: row["completion"] for row in ROWS}
    prepared = prepare_demonstrations(config, plain)
    for own, full in prompts_of(prepared).items():
        *shots, last = full.split("\n\n")
        assert last == own
        asked = [shot.partition("?")[0] + "?" for shot in shots]
        assert shots == [prompt + answers[prompt] for prompt in asked]
        assert len(set(asked)) == 2 and own not in asked
        assert set(asked) <= trained
    assert prepared.sides == sides.sides  # no row changes sides


def test_which_examples_hangs_on_the_prompt_alone(plain, write, configured):
    few = configured(demonstrations=write("d.jsonl", ROWS), few_shot=2)
    back = configured(demonstrations=write("e.jsonl", ROWS[::-1]), few_shot=2)
    assert prompts_of(prepare_demonstrations(few, plain)) == prompts_of(
        prepare_demonstrations(back, plain)
    )
    prompts = write("p.jsonl", [{"prompt": row["prompt"]} for row in ROWS])
    both = few.model_copy(update={"prompts": prompts})
    assert prompts_of(prepare_prompts(both, plain)) == prompts_of(
        prepare_demonstrations(few, plain)
    )
    assert len(set(map(str, prompts_of(prepare_prompts(both, plain)).values()))) == 40


def test_test_prompts_are_shown_what_is_trained_on_only(plain, write, configured):
    config = configured(
        demonstrations=write("d.jsonl", ROWS),
        prompts=write("p.jsonl", [{"prompt": "a"}]),
        test_prompts=write("t.jsonl", [{"prompt": f"b{n}"} for n in range(30)]),
        few_shot=1,
        test_fraction=0.45,
    )
    bare = configured(demonstrations=config.demonstrations, test_fraction=0.45)
    sides = prepare_demonstrations(bare, plain)
    trained = {sides.entries[i].example.asked.prompt for i in sides.sides["train"]}
    for prompt in load_prompts(config, plain).test.prompts:
        assert prompt.partition("?")[0] + "?" in trained


def test_of_messages_the_examples_are_earlier_turns(chatml, write, configured):
    def turns(n):
        system = {"role": "system", "content": "brief"}
        return [system, {"role": "user", "content": f"film {n}"}]

    rows = [
        {"prompt": turns(n), "completion": [{"role": "assistant", "content": f"it {n}"}]}
        for n in range(6)
    ]
    config = configured(demonstrations=write("d.jsonl", rows), few_shot=2)
    (entry, *_) = prepare_demonstrations(config, chatml).entries
    roles = [message["role"] for message in entry.example.asked.prompt]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    ids, mask = entry.answers[0]
    learned = chatml.decode([token for token, mine in zip(ids, mask, strict=True) if mine])
    assert learned == "it 0<|im_end|>"


def test_rankings_are_shown_demonstrations(plain, write, configured):
    pairs = write("p.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    config = configured(preferences=pairs, demonstrations=write("d.jsonl", ROWS), few_shot=1)
    (entry,) = prepare_rankings(config, plain).entries
    assert entry.example.asked.prompt.endswith("\n\na")
    assert " it is " in entry.example.asked.prompt


def test_what_has_no_place_for_examples_or_none_to_show_is_refused(plain, write, configured):
    texts = write("t.jsonl", [{"text": "film"}, ROWS[0], ROWS[1]])
    with pytest.raises(DataError, match=r"t\.jsonl:1: has no prompt that examples could stand"):
        prepare_demonstrations(configured(demonstrations=texts, few_shot=1), plain)
    few = write("d.jsonl", ROWS[:3])
    with pytest.raises(ConfigError, match="only 2 demonstrations on the training side"):
        prepare_demonstrations(configured(demonstrations=few, few_shot=3), plain)
    prompts = write("p.jsonl", [{"prompt": "a"}])
    with pytest.raises(ConfigError, match=r"takes its examples from data\.demonstrations"):
        prepare_prompts(configured(prompts=prompts, few_shot=1), plain)
