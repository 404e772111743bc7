"""A document becomes windows that hold each of its tokens, and teach each of them once."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import torch

from rlhf.data.demonstrations import load_demonstrations, prepare_demonstrations
from rlhf.data.documents import parted


def test_every_token_of_a_document_is_learned_once(llama, tmp_path, configured, caplog):
    text = "hello world, the film was good\n" * 20
    path = tmp_path / "a.txt"
    path.write_text(text)
    config = configured(demonstrations=str(path), max_length=32)
    batch = load_demonstrations(config, llama).train
    whole = [*llama(text)["input_ids"], llama.eos_token_id]
    assert batch.lengths_B.max() == 32
    rows = zip(batch.tokens_BT, batch.loss_mask_BT, batch.lengths_B, strict=True)
    windows = [(tokens[:n].tolist(), tokens[mask].tolist()) for tokens, mask, n in rows]
    starts = sorted(range(len(windows)), key=lambda i: whole_at(whole, windows[i][0]))
    assert [i for at in starts for i in windows[at][1]] == whole[1:]
    assert f"cut into {len(windows)} windows of data.max_length=32" in caplog.text


def whole_at(whole, window):
    places = range(0, len(whole), 31)
    return next(at for at in places if whole[at : at + len(window)] == window)


def test_a_short_document_is_one_row_like_any_text(chatml, tmp_path, write, configured):
    (tmp_path / "a.txt").write_text("hello world")
    rows = write("a.jsonl", [{"text": "hello world"}])
    one, other = (
        load_demonstrations(configured(demonstrations=str(path)), chatml).train
        for path in (tmp_path / "a.txt", rows)
    )
    assert torch.equal(one.tokens_BT, other.tokens_BT)
    assert torch.equal(one.loss_mask_BT, other.loss_mask_BT)


def test_the_windows_of_a_document_are_all_on_one_side(plain, tmp_path, configured):
    """A word that stands in one document alone tells whose window it is, whatever its side."""
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text(f"film number {n:03d} was good; " * 30)
    config = configured(
        demonstrations=str(tmp_path),
        max_length=40,
        window_overlap=8,
        validation_fraction=0.2,
        test_fraction=0.3,
    )
    found = load_demonstrations(config, plain)
    sides = []
    for batch in (found.train, found.validation, found.test):
        texts = [
            plain.decode(ids[:n]) for ids, n in zip(batch.tokens_BT, batch.lengths_B, strict=True)
        ]
        sides.append({number for text in texts for number in re.findall(r"\b\d{3}\b", text)})
        assert len(texts) > 5 * len(sides[-1]) > 0
    train, validation, test = sides
    assert not train & validation and not train & test and not validation & test
    assert train | validation | test == {f"{n:03d}" for n in range(40)}


def test_windows_of_one_document_are_parted_where_rows_are_and_told_where_not(
    chatml, tmp_path, configured, caplog
):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"film {n}\n" for n in range(400)))
    config = configured(demonstrations=str(path), max_length=16, test_fraction=0.3)
    found = load_demonstrations(config, chatml)
    assert len(found.train) > 100 and not len(found.test)
    assert f"all {len(found.train)} windows of the one document are trained on" in caplog.text
    assert "held out for test; give several documents" in caplog.text
    caplog.clear()
    parted_rows = config.model_copy(update={"split_by": "row"})
    found = load_demonstrations(parted_rows, chatml)
    assert len(found.test) > 20
    assert len(found.train) > 60
    assert "held out" not in caplog.text


def test_documents_none_of_which_is_held_out_are_told(plain, tmp_path, configured, caplog):
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"the film {name} was good\n" * 20)
    config = configured(demonstrations=str(tmp_path), max_length=32, validation_fraction=0.01)
    assert len(load_demonstrations(config, plain).train)
    assert "none of 2 documents" in caplog.text
    assert "raise data.validation_fraction" in caplog.text
    assert "2 documents of " in caplog.text


def test_parts_are_the_whole_text_and_end_with_lines_or_words():
    text = "one two\nthree four five\n" + "x" * 30
    for most in (3, 8, 12, 100):
        parts = list(parted(text, most))
        assert "".join(parts) == text
        assert max(map(len, parts)) <= most
    assert list(parted(text, 12))[:3] == ["one two\n", "three four", " five\n"]


@pytest.mark.parametrize("overlap", [1, 2, 7, 15])
def test_every_token_is_learned_once_however_much_windows_overlap(
    overlap, plain, tmp_path, configured
):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"the film {n} was good\n" for n in range(40)))
    config = configured(demonstrations=str(path), max_length=16, window_overlap=overlap)
    windows = [entry.answers[0] for entry in prepare_demonstrations(config, plain).entries]
    whole = [*plain(path.read_text())["input_ids"], plain.eos_token_id]
    learned = [i for ids, mask in windows for i, mine in zip(ids, mask, strict=True) if mine]
    assert learned == whole[1:]
    assert all(len(ids) <= 16 and any(mask) for ids, mask in windows)
    for (before, _), (after, mask) in pairwise(windows):
        assert after[:overlap] == before[-overlap:]
        assert not any(mask[:overlap])
