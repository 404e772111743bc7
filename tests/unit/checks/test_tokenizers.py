"""Tokenizers: every way in which models may fail to read the policy's responses."""

from __future__ import annotations

import json

import pytest

from rlhf.checks.check import CheckWarning
from rlhf.checks.tokenizers import check_tokenizers
from rlhf.data.tokenizer import load_tokenizer
from rlhf.errors import ModelError
from tests import models

OTHER = ["quite other words, zebra and quartz", "jumping vexed foxes"] * 3


def configured(folder, **changes):
    """Change a model's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return {"path": str(folder)}


def test_models_that_agree(context, folder):
    given = {name: {"path": folder(kind="classifier")} for name in ("reward_model", "value")}
    said = check_tokenizers(context(reference={"path": folder()}, **given))
    assert not isinstance(said, CheckWarning)
    assert said.endswith("the reward model reads these tokens")


def test_a_reward_model_may_have_tokens_of_its_own(context, copied):
    swapped = copied("classifier")
    models.tokenizer(OTHER).save_pretrained(swapped)
    said = check_tokenizers(context(reward_model={"path": str(swapped)}))
    assert said.endswith("has tokens of its own, texts are encoded again")


def test_but_then_it_needs_a_template_for_messages(context, copied, tmp_path):
    swapped = copied("classifier")
    (swapped / "chat_template.jinja").unlink()
    plain = models.tokenizer(OTHER)
    plain.chat_template = None
    plain.save_pretrained(swapped)
    chat = {"prompts": str(tmp_path / "chat.jsonl")}
    with pytest.raises(ModelError, match="no chat template; add its chat_template"):
        check_tokenizers(context(reward_model={"path": str(swapped)}, data=chat))


@pytest.mark.parametrize(("role", "kind"), [("reference", "causal"), ("value", "classifier")])
def test_a_reader_of_the_policys_ids_needs_the_policys_tokenizer(context, copied, role, kind):
    swapped = copied(kind)
    models.tokenizer(OTHER).save_pretrained(swapped)
    with pytest.raises(ModelError, match=rf"{role}\.path=.* is not the policy's"):
        check_tokenizers(context(**{role: {"path": str(swapped)}}))


def test_a_reference_may_have_another_template_and_another_end(context, copied):
    base = copied()
    tokenizer = load_tokenizer(str(base))
    tokenizer.chat_template, tokenizer.eos_token = "{{ 'x' }}", tokenizer.pad_token
    tokenizer.save_pretrained(base)
    check_tokenizers(context(reference={"path": str(base)}))


def test_more_tokens_than_rows_of_the_embedding(context, copied):
    larger = copied("classifier")
    letters = [" ".join(a + b for a in "qwertyuiop" for b in "asdfghjkl")] * 3
    models.tokenizer([*models.TEXTS, *letters], 400).save_pretrained(larger)
    with pytest.raises(ModelError, match=r"reward_model\.path=.*ids up to \d+, its embedding 290"):
        check_tokenizers(context(reward_model={"path": str(larger)}))


def test_a_pad_outside_the_embedding(context, copied):
    given = configured(copied("classifier"), pad_token_id=5000)
    with pytest.raises(ModelError, match="pad_token_id=5000 .* no row of its embedding of 290"):
        check_tokenizers(context(reward_model=given))


def test_a_pad_that_is_not_the_tokenizers(context, copied):
    given = configured(copied("classifier"), pad_token_id=2)
    said = check_tokenizers(context(reward_model=given))
    assert isinstance(said, CheckWarning)
    assert "pad_token_id=2 in its config.json is not its tokenizer's 0" in said


@pytest.mark.parametrize(("role", "kind"), [("reference", "causal"), ("value", "classifier")])
def test_a_context_shorter_than_prompt_and_response(context, copied, role, kind):
    given = configured(copied(kind), max_position_embeddings=10)
    with pytest.raises(ModelError, match=r"context is 10, .* lower generation\.max_new_tokens by"):
        check_tokenizers(context(**{role: given}))


def test_turns_that_no_stop_token_ends(context, copied, tmp_path):
    chat = {"prompts": str(tmp_path / "chat.jsonl")}
    assert not isinstance(check_tokenizers(context(data=chat)), CheckWarning)
    endless = copied()
    tokenizer = load_tokenizer(str(endless))
    tokenizer.chat_template = tokenizer.chat_template.replace(" + eos_token", "")
    tokenizer.save_pretrained(endless)
    said = check_tokenizers(context(data=chat, policy={"path": str(endless)}))
    assert isinstance(said, CheckWarning)
    assert "ends a turn with none of the tokens that end a response ('<|eos|>'" in said


def test_prompts_that_the_reward_models_template_refuses(context, copied, tmp_path):
    swapped = copied("classifier")
    words = models.tokenizer(OTHER)
    refuses = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    )
    words.chat_template = refuses + words.chat_template
    words.save_pretrained(swapped)
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a film"}]
    rows = [{"prompt": system[1:]}, {"prompt": system}, {"prompt": system}]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat = {"prompts": str(tmp_path / "chat.jsonl"), "validation_fraction": 0.0}
    given = {"reward_model": {"path": str(swapped)}, "data": {**chat, "test_fraction": 0.0}}
    with pytest.raises(ModelError, match=r"refuses 2 of data\.prompts.*No system role") as caught:
        check_tokenizers(context(**given))
    assert "\n" not in str(caught.value)


def test_answers_that_their_common_template_refuses(context, copied, tmp_path):
    # As Cohere 2's: it asks for an answer to a tool's, and refuses one.
    both = {kind: copied(kind) for kind in ("causal", "classifier")}
    for place in both.values():
        words = load_tokenizer(str(place))
        words.chat_template += "{% if messages[2] %}{{ raise_exception('No') }}{% endif %}"
        words.save_pretrained(place)
    user, tool = {"role": "user", "content": "a"}, {"role": "tool", "content": "b"}
    rows = [{"prompt": prompt} for prompt in ([user], [user, tool], [user, tool])]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"prompts": str(tmp_path / "chat.jsonl"), "validation_fraction": 0, "test_fraction": 0}
    given = {"reward_model": {"path": str(both["classifier"])}, "data": data}
    with pytest.raises(ModelError, match=r"refuses 2 of data\.prompts.*\(.*No\)"):
        check_tokenizers(context(**given, policy={"path": str(both["causal"])}))


def test_a_damaged_generation_config_is_reported_beforehand(context, copied):
    broken = copied()
    (broken / "generation_config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"generation_config\.json: holds list"):
        check_tokenizers(context(policy={"path": str(broken)}))


def test_what_ends_an_exchange_needs_a_place_in_the_reward_models_context(
    context, copied, tmp_path
):
    # Its template ends a turn with two letters and a new line before EOS: three tokens more.
    chat = {"prompts": str(tmp_path / "chat.jsonl"), "validation_fraction": 0.0}
    both = {kind: copied(kind) for kind in ("causal", "classifier")}
    for place in both.values():
        words = load_tokenizer(str(place))
        words.chat_template = words.chat_template.replace("eos_token", "'##'")
        words.save_pretrained(place)
    made = {"policy": {"path": str(both["causal"])}, "data": {**chat, "test_fraction": 0.0}}
    (longest,) = context(**made).inputs.prompts.train.lengths_B.tolist()
    for places, fits in ((longest + 8 + 3, True), (longest + 8 + 2, False)):
        given = configured(both["classifier"], max_position_embeddings=places)
        asked = context(**made, reward_model=given)
        if fits:
            check_tokenizers(asked)
        else:
            with pytest.raises(ModelError, match=f"context is {places}, .*by 1"):
                check_tokenizers(asked)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "eos_token_id", 99_999),
        ("config.json", "bos_token_id", models.VOCAB),
        ("generation_config.json", "eos_token_id", [2, 99_999]),
        ("generation_config.json", "pad_token_id", 99_999),
    ],
)
def test_an_id_of_a_special_token_that_is_no_token_is_told(context, copied, file, key, value):
    made = copied()
    content = json.loads((made / file).read_text())
    (made / file).write_text(json.dumps({**content, key: value}))
    said = check_tokenizers(context(policy={"path": str(made)}))
    assert isinstance(said, CheckWarning)
    (line,) = said.splitlines()
    wrong = value[-1] if isinstance(value, list) else value
    assert f"policy.path={made}: {key}={wrong} in its {file} is no row" in line
    assert ("so it never ends a response" in line) == (key == "eos_token_id")


def test_every_model_of_a_list_is_looked_at_under_its_own_name(context, copied, folder):
    larger = copied("classifier")
    letters = [" ".join(a + b for a in "qwertyuiop" for b in "asdfghjkl")] * 3
    models.tokenizer([*models.TEXTS, *letters], 400).save_pretrained(larger)
    entries = [{"model": folder(kind="classifier")}, {"model": str(larger)}]
    with pytest.raises(ModelError, match=r"reward\.sources\.1\.model=.*its embedding 290"):
        check_tokenizers(context(reward={"sources": entries}))
    models.tokenizer(OTHER).save_pretrained(larger)
    said = check_tokenizers(context(reward={"sources": entries}))
    assert f"the reward model {entries[0]['model']} reads these tokens; " in said
    assert said.endswith(f"{larger} has tokens of its own, texts are encoded again")
