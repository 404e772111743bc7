"""Document folders: a folder of texts is a source of documents; one with tables is a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
DOCUMENTS: Final = (".txt", ".md", ".markdown", ".pdf")
"""Files that are one text."""
_OF_DATA_SETS: Final = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow"),
    *(".zip", ".tar", ".py", ".xml", ".webdataset"),
)
"""What a folder holds that `datasets` reads."""
_SHOWN = 5


def suffix_of(path: Path) -> str:
    """Return the suffix that says what is in a file, in small letters; .gz is looked behind."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix == ".gz" else suffix
    return "" if inner == ".parquet" != suffix else inner


def documents_in(folder: Path) -> list[Path]:
    """Return the documents of a folder and those below it, by their paths; hidden files apart.

    Every other file is told. A folder with files of a data set holds no documents, and those that
    lie there all the same are told, but for README and LICENSE.
    """
    visible = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    documents = [path for path in visible if suffix_of(path) in DOCUMENTS]
    tables = [path for path in visible if suffix_of(path) in _OF_DATA_SETS]
    if tables:
        unread = [path for path in documents if path.stem.upper() not in ("README", "LICENSE")]
        if unread:
            _log.warning(
                "%s: read as a data set, as it holds %s; documents there are not read: %s; give "
                "them a folder of their own",
                folder,
                tables[0].relative_to(folder),
                _listed(folder, unread),
            )
        return []
    others = [path for path in visible if path not in {*documents}]
    if documents and others:
        _log.warning(
            "%s: a folder of %s documents (%s); other files there are not read: %s",
            folder,
            f"{len(documents):,}",
            ", ".join(DOCUMENTS),
            _listed(folder, others),
        )
    return documents


def _listed(folder: Path, paths: Sequence[Path]) -> str:
    named = ", ".join(str(path.relative_to(folder)) for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{named} and {more:,} more" if more > 0 else named
