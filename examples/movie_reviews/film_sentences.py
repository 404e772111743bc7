"""Film sentences with human ratings, turned into rows for every stage.

The sentences come from Rotten Tomatoes reviews (Pang & Lee); 15 to 29 people rated each from -4 to
4 (Hutto & Gilbert, "VADER", ICWSM-14). A hash of a sentence's words decides what it is used for, so
the rows are the same everywhere and equal sentences never part.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from rlhf.errors import DataError

Row: TypeAlias = dict[str, str | float]

FILES: Final = (
    "demonstrations",
    "preferences",
    "preferences_test",
    "prompts",
    "prompts_test",
    "judge",
)
JUDGE_PERCENT: Final = 40  # sentences whose ratings only the held-out judge sees
TEST_PERCENT: Final = 10  # sentences whose pairs measure the reward model
MIN_MARGIN: Final = 1.0  # least difference of mean ratings that makes a pair
PARTNERS: Final = 3  # pairs that one sentence may begin
MAX_CHARS: Final = 85  # longest demonstration
MIN_WORD_COUNT: Final = 4  # a demonstration has only words seen this often in all the texts
PLAIN: Final = r"[A-Z](?:[a-z',;-]| (?:I\b)?)*[.!?]"  # one sentence, no names, digits or quotes
PROMPTS: Final = ("Write about the {}:", "Review the {}:", "Comment on the {}:")
ANY_TOPIC: Final = "film"
TOPICS: Final = (
    "movie",
    "story",
    "comedy",
    "characters",
    "director",
    "drama",
    "performances",
    "plot",
    "action",
    "cast",
    "humor",
    "script",
    "thriller",
    "tale",
    "heart",
    "documentary",
    "picture",
    "acting",
    "dialogue",
    "scenes",
    "actors",
    "music",
    "style",
    "kids",
    "entertainment",
    "romance",
    "laughs",
    "charm",
    "direction",
    "narrative",
    "horror",
    "effects",
    "screenplay",
    "premise",
    "jokes",
    "ending",
)  # most common first


@dataclass(frozen=True)
class Snippet:
    """One film sentence and what people thought of it.

    Attributes:
        id: Number of the sentence in the source, from 1.
        mean: Mean rating, -4 (most negative) to 4 (most positive).
        sd: Standard deviation of the ratings.
        text: The sentence, quotes, dashes and full stop restored.
        num_raters: How many people rated it.
    """

    id: int
    mean: float
    sd: float
    text: str
    num_raters: int

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its lower-case words, whatever the punctuation."""
        return tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)*", self.text.lower()))

    @cached_property
    def number(self) -> int:
        """A fixed pseudo-random number that equal sentences share."""
        return int(hashlib.sha256(" ".join(self.words).encode()).hexdigest()[:12], 16)

    @property
    def split(self) -> str:
        """What it is used for: ``judge``, ``test`` or ``train``."""
        percent = self.number % 100
        if percent < JUDGE_PERCENT:
            return "judge"
        return "test" if percent < JUDGE_PERCENT + TEST_PERCENT else "train"

    @property
    def topic(self) -> str:
        """The least common topic word in it, else ``ANY_TOPIC``."""
        found = set(self.words)
        return next((topic for topic in reversed(TOPICS) if topic in found), ANY_TOPIC)

    @property
    def prompt(self) -> str:
        """A request that it answers; never one of the test prompts."""
        return train_prompts(self.topic)[self.number // 100 % (len(PROMPTS) - 1)]

    @property
    def answer(self) -> str:
        """Its text as it follows the prompt, a space between."""
        return f" {self.text}"


def parse_snippets(texts: str, ratings: str) -> list[Snippet]:
    """Join the source's tables (id, mean, text) and (id, mean, sd, [ratings]) line by line."""
    text_lines, rating_lines = texts.splitlines(), ratings.splitlines()
    if len(text_lines) != len(rating_lines):
        raise DataError(f"{len(text_lines)} sentences but {len(rating_lines)} lines of ratings")
    rows = zip(text_lines, rating_lines, strict=True)
    return [_parse_line(number, *row) for number, row in enumerate(rows, start=1)]


def restore(text: str) -> str:
    """Undo the source's flattening of quotes, dashes, leading dots and missing full stops."""
    text = text.replace("''", '"').replace("`", "'").replace("\u2013", "-").replace("\xa0", " ")
    text = text.strip().lstrip(".").lstrip()
    if text[:1] in "\"'" and text[-1:] == text[:1] and text.count(text[0]) == 2:
        text = text[1:-1].strip()
    text = re.sub(r"(?<=[.!?:;,\"]) {2,}", " ", text)
    text = re.sub(r" {2,}", " - ", text)
    ending = "" if re.search(r"[.!?][\"')]*$", text) else "."
    return text[:1].upper() + text[1:] + ending


def build_rows(snippets: Iterable[Snippet]) -> dict[str, list[Row]]:
    """Give the rows of every file in ``FILES``."""
    splits: dict[str, list[Snippet]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for snippet in sorted(snippets, key=lambda snippet: (snippet.number, snippet.id)):
        splits[snippet.split].append(snippet)
        counts.update(snippet.words)
    topics = (ANY_TOPIC, *TOPICS)
    return {
        "demonstrations": [
            {"prompt": snippet.prompt, "completion": snippet.answer}
            for snippet in plain_snippets(splits["train"], counts)
        ],
        "preferences": preference_rows(splits["train"]),
        "preferences_test": preference_rows(splits["test"]),
        "prompts": [{"prompt": p, "topic": t} for t in topics for p in train_prompts(t)],
        "prompts_test": [{"prompt": evaluation_prompt(t), "topic": t} for t in topics],
        "judge": [{"text": s.text, "rating": round(s.mean, 4)} for s in splits["judge"]],
    }


def evaluation_prompt(topic: str) -> str:
    """Give the one prompt about a topic that is kept for evaluation."""
    return PROMPTS[len(topic) % len(PROMPTS)].format(topic)


def train_prompts(topic: str) -> list[str]:
    """Give the prompts about a topic that training may see."""
    prompts = [prompt.format(topic) for prompt in PROMPTS]
    return [prompt for prompt in prompts if prompt != evaluation_prompt(topic)]


def plain_snippets(snippets: list[Snippet], counts: Mapping[str, int]) -> list[Snippet]:
    """Choose short sentences in common words: a tiny model can learn to write these."""
    return [
        snippet
        for snippet in snippets
        if len(snippet.text) <= MAX_CHARS
        and re.fullmatch(PLAIN, snippet.text)
        and min(counts[word] for word in snippet.words) >= MIN_WORD_COUNT
    ]


def preference_rows(snippets: list[Snippet]) -> list[Row]:
    """Pair sentences on one topic whose mean ratings differ by at least ``MIN_MARGIN``."""
    by_topic: dict[str, list[Snippet]] = defaultdict(list)
    for snippet in snippets:
        by_topic[snippet.topic].append(snippet)
    pairs = [pair for group in by_topic.values() for pair in _pairs(group)]
    pairs.sort(key=lambda pair: (pair[0].number ^ pair[1].number, pair[0].id, pair[1].id))
    return [
        {
            "prompt": best.prompt,
            "chosen": best.answer,
            "rejected": worst.answer,
            "margin": round(best.mean - worst.mean, 4),
        }
        for best, worst in pairs
    ]


def _pairs(group: list[Snippet]) -> Iterator[tuple[Snippet, Snippet]]:
    """Match each sentence with the next few that people rated clearly differently."""
    for start, first in enumerate(group):
        others = (group[(start + step) % len(group)] for step in range(1, len(group) // 2))
        far = [other for other in others if abs(first.mean - other.mean) >= MIN_MARGIN]
        for second in far[:PARTNERS]:
            best, worst = sorted((first, second), key=lambda s: s.mean, reverse=True)
            yield best, worst


def _parse_line(number: int, text_line: str, rating_line: str) -> Snippet:
    try:
        text_id, _, text = text_line.split("\t")
        rating_id, mean, sd, raw = rating_line.split("\t")
        if int(text_id) != int(rating_id):
            raise ValueError(f"ids {text_id} and {rating_id} differ")
        return Snippet(int(text_id), float(mean), float(sd), restore(text), len(json.loads(raw)))
    except ValueError as error:
        raise DataError(f"film sentences, line {number}: {error}") from error
