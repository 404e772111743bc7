"""The page docs/models.md: what every causal family of transformers does in every stage."""

from __future__ import annotations

import transformers

from tests.families.cells import CELLS

# ruff: noqa: E501 - rows of tables and paragraphs of a page

HEAD = """# Models

Every causal language model of transformers {version} was made tiny, with random weights and live
dropout in its config, and run by `make families`. A cell is *ok* where what came out is what plain
transformers says of the same rows, each read alone, without padding, packing or a cache, in fp32:

| column | what is compared |
|---|---|
| SFT | loss and gradient norm of one update, with cross entropy |
| recomputed | the same with `engine.gradient_checkpointing=true` |
| reward model | scores after one update, with those of the written folder read by transformers |
| PPO, export | log-probabilities; the first ratio; that policy and value model learn; logits of the written folder, and that it lacks no tensor |
| LoRA | the same with `peft.method=lora`, adapters merged |
| sampler | the tokens' log-probabilities as they were drawn; which backend `generation.backend=auto` takes |
| padded sampler | the same for `generation.backend=padded` |

Samplers: *continuous* batches over reused slots, the fastest. *padded* is transformers' own
`generate` with rows padded on the left. *apart* is the same for rows of one length at a time, for
networks whose state reads padding. *uncached* reads whole rows again for every token, for networks
whose cached steps are not what a full forward is. A trial at the start of a run takes the first
that is right, and the run says which and why.

## What is refused, and what is read of it

A folder is told by its `config.json` before anything starts (`rlhf doctor` says it too), and again
by a trial when it is loaded: what a model says of a token must not change with the tokens behind it.

- Encoder-decoders (T5, BART) and encoders (BERT, unless `is_decoder` is set) are refused.
- So is a folder whose `model_type` is not that of the class it names in `architectures`: tensors of
  some families (Llama, Gemma, Granite) have the same names and shapes, and mean other numbers.
- Folders that read images or sounds too (Gemma 3 as the 4B, 12B and 27B are shipped, Llava,
  Mistral 3, Qwen 3.5) work through their text part, where transformers has a causal language model
  for it. What is written is a folder of that text part alone: the other towers are left out.
- A `config.json` that asks for `flex_attention` is refused: its kernels are compiled anew
  for each shape of a batch, and have no backward on a CPU. So are norms with an epsilon above 0.1,
  and a policy that gives all next tokens one probability.
- A `longrope` model (Phi-3 128k) is read up to its first context, past which it reads whole batches
  in another way.

## Reward and value models of every family

Where transformers has no one-label classifier for a family, one is made as transformers makes its
own: a linear `score` over the base model, and the folder names it in `architectures`, such as
`CohereForSequenceClassification`. Here it is loaded like any other. Elsewhere:

```python
from safetensors.torch import load_file
from transformers import AutoModel

base = AutoModel.from_pretrained("RUN/reward_model")
head = load_file("RUN/reward_model/model.safetensors")["score.weight"]
score = base(input_ids=ids)[0][:, -1] @ head.T  # of a text without padding
```

## Embeddings with more rows than the tokenizer has tokens

Many vocabularies are rounded up (Qwen2.5: 151,665 tokens, 151,936 or 152,064 rows). Ids without a
token are never drawn, so a policy of 152,064 rows may learn from a reward model of 151,936.
Log-probabilities are those of the whole vocabulary, in sampling as in training, as TRL and verl have
them; trained models give such ids next to no probability.

## All families

{counts}

"""
COLUMNS = ("family", *CELLS)


def is_bad(row: dict[str, str]) -> bool:
    """Whether a cell is wrong, or stops with something else than a refusal."""
    return any(cell.startswith(("wrong", "stops")) for cell in row.values())


def written(rows: dict[str, dict[str, str]]) -> str:
    """Return the page."""
    works = {name: row for name, row in rows.items() if "all" not in row}
    refused = {name: row["all"] for name, row in rows.items() if "all" in row}
    notes: list[str] = []
    lines = [
        f"| {' | '.join((name, *(_cell(row[cell], notes) for cell in CELLS)))} |"
        for name, row in works.items()
    ]
    clean = sum(all(_is_ok(row[cell]) for cell in CELLS) for row in works.values())
    counts = (
        f"{len(rows)} families: {clean} right in every stage, {len(works) - clean} in some, "
        f"{len(refused)} refused with the line below."
    )
    head = HEAD.format(version=transformers.__version__, counts=counts)
    table = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines]
    numbered = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    bare = ["| family | refused |", "|---|---|"]
    bare += [f"| {name} | {line.removeprefix('refused: ')} |" for name, line in refused.items()]
    return head + "\n".join([*table, "", *numbered, "", "### Refused", "", *bare, ""])


def _is_ok(cell: str) -> bool:
    return not cell.startswith(("wrong", "stops", "refused"))


def _cell(cell: str, notes: list[str]) -> str:
    if _is_ok(cell):
        return cell
    if cell not in notes:
        notes.append(cell)
    return f"{cell.partition(':')[0]} ({notes.index(cell) + 1})"
