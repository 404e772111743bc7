"""Figures: rows by source and side, lengths and tokens, prompts that two sides share."""

from __future__ import annotations

from rlhf.data.demonstrations import load_demonstrations, prepare_demonstrations
from rlhf.data.preferences import load_rankings, prepare_rankings
from rlhf.data.preview.figures import lengths_of, overlaps_of, sources_of, text_of, tokens_of
from rlhf.data.prompts import prepare_prompts


def rows(count, first=0):
    return [{"prompt": f"film {n}", "completion": " good" * (n + 1)} for n in range(first, count)]


def test_rows_of_a_source_are_counted_as_often_as_they_are_used(chatml, write, configured):
    sources = [write("a.jsonl", rows(6)), {"path": write("b.jsonl", rows(9, 6)), "weight": 2.0}]
    config = configured(demonstrations=sources, validation_fraction=0.3)
    prepared = prepare_demonstrations(config, chatml)
    batches = load_demonstrations(config, chatml)
    found = sources_of(prepared)
    assert [source.path for source in found] == [
        path if isinstance(path, str) else path["path"] for path in sources
    ]
    assert sum(source.train for source in found) == len(batches.train)
    assert sum(source.validation for source in found) == len(batches.validation)
    assert found[1].train % 2 == 0


def test_tokens_are_those_of_the_batches(chatml, write, configured):
    config = configured(demonstrations=write("a.jsonl", rows(6)), validation_fraction=0.3)
    train = load_demonstrations(config, chatml).train
    found = tokens_of(prepare_demonstrations(config, chatml))
    assert found.read == int(train.lengths_B.sum())
    assert found.learned == int(train.loss_mask_BT.sum())


def test_of_rankings_each_answer_is_read_and_no_token_learned_alone(chatml, write, configured):
    path = write("p.jsonl", [{"prompt": "hello", "answers": [" good", " good film", " bad"]}])
    config = configured(preferences=path)
    found = tokens_of(prepare_rankings(config, chatml))
    assert (found.read, found.learned) == (
        int(load_rankings(config, chatml).train.lengths_BK.sum()),
        0,
    )


def test_lengths_name_the_longest_row(chatml, write, configured):
    path = write("a.jsonl", rows(100))
    entries = prepare_demonstrations(configured(demonstrations=path), chatml).entries
    found = lengths_of(entries)
    ordered = sorted(len(entry.ids) for entry in entries)
    assert found is not None
    assert (found.median, found.most_of_them, found.longest) == (
        ordered[50],
        ordered[95],
        ordered[-1],
    )
    assert found.longest_at == f"{path}:100"
    assert lengths_of([]) is None


def test_prompts_on_two_sides_are_told_and_those_that_leak_come_first(chatml, write, configured):
    demonstrations = write("a.jsonl", rows(5))
    test = write(
        "t.jsonl", [{"prompt": " film  1"}, {"prompt": [{"role": "user", "content": "film 3"}]}]
    )
    prompts = write("p.jsonl", [{"prompt": "film 4"}])
    config = configured(demonstrations=demonstrations, prompts=prompts, test_prompts=test)
    kinds = {
        "demonstrations": prepare_demonstrations(config, chatml),
        "prompts": prepare_prompts(config, chatml),
    }
    leak, shared = overlaps_of(kinds)
    assert (leak.first, leak.second, leak.prompts) == ("demonstrations train", "prompts test", 2)
    assert leak.leaks and leak.example.startswith(test)
    assert (shared.first, shared.second, shared.prompts) == (
        "demonstrations train",
        "prompts train",
        1,
    )
    assert not shared.leaks


def test_the_text_of_a_row_is_all_that_it_says(chatml, write, configured):
    chat = {
        "prompt": [{"role": "user", "content": "hello"}],
        "completion": [{"role": "assistant", "content": "film"}],
    }
    path = write("a.jsonl", [chat])
    (entry,) = prepare_demonstrations(configured(demonstrations=path), chatml).entries
    assert text_of(entry) == "hello\nfilm"
