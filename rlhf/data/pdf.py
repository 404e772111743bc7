"""PDF: the text of a PDF file, its pages one after another; the one boundary to pypdf."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from rlhf.data.problems import heard
from rlhf.errors import ConfigError, DataError
from rlhf.observe.numbers import counted

_log = logging.getLogger(__name__)
_LONGEST = 160
"""Letters of what the reader says of a damaged file, which may quote it."""
_MARK, _WITHIN = b"%PDF-", 1024
"""What a PDF begins with, and within how many bytes (ISO 32000-1, annex H, note 13)."""


def pdf_text(content: bytes, name: str) -> str:
    """Return the text of all pages, lines as they stand there, an empty line between two pages.

    Pages without text, such as scanned ones, and what the reader had to repair are told.

    Args:
        content: the file.
        name: its path.

    Raises:
        DataError: when it is no PDF, damaged, encrypted, or has no text at all.
        ConfigError: when pypdf is not installed.
    """
    if _MARK not in content[:_WITHIN]:
        raise DataError(
            f"{name}: is no PDF, though it is called so: it does not begin with %PDF-; name it "
            "after what it is, such as .txt"
        )
    with heard("pypdf") as repairs:
        pages = [text.strip() for text in _pages(content, name)]
    empty = [number for number, text in enumerate(pages, 1) if not text]
    if len(empty) == len(pages):
        many = f"none of its {len(pages)} pages has" if len(pages) > 1 else "its page has no"
        raise DataError(
            f"{name}: {many} text; pages that are pictures (scans) need text recognition (OCR) "
            "first"
        )
    if empty:
        _tell_empty(name, empty, len(pages))
    if repairs:
        _log.warning("%s: not quite as a PDF should be, text may lack: %s", name, repairs[0])
    return _spelled("\n\n".join(pages), name)


def _tell_empty(name: str, empty: Sequence[int], pages: int) -> None:
    """Say which pages have no text, by their numbers from 1."""
    _log.warning(
        "%s: %d of its %d pages %s no text, the first of them page %d; what is a picture there "
        "is not read",
        name,
        len(empty),
        pages,
        "have" if len(empty) > 1 else "has",
        empty[0],
    )


def _pages(content: bytes, name: str) -> list[str]:
    """Return the text of every page.

    Raises:
        DataError: when they cannot be read.
        ConfigError: when pypdf is not installed.
    """
    try:
        import pypdf
        from pypdf.errors import DependencyError
    except ImportError as error:
        raise ConfigError(
            f"{name}: PDF files are read by pypdf, which is not installed; "
            "pip install 'rlhf[pdf]' adds it"
        ) from error
    try:
        reader: Any = pypdf.PdfReader(BytesIO(content), strict=False)
        is_open = not reader.is_encrypted or reader.decrypt("")
        pages = [page.extract_text() for page in reader.pages] if is_open else []
    except DependencyError:
        is_open, pages = False, []
    except Exception as error:  # a damaged file may make the reader raise anything
        reason = (str(error).splitlines() or [""])[0][:_LONGEST] or type(error).__name__
        raise DataError(f"{name}: a damaged PDF: {reason}; save it anew") from error
    if not is_open:
        raise DataError(f"{name}: is encrypted; save it without a password")
    if not pages:
        raise DataError(f"{name}: a damaged PDF: no page is found in it; save it anew")
    return pages


def _spelled(text: str, name: str) -> str:
    """Return a text without halves of characters, which no tokenizer reads; they are told."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lost = whole.count("\ufffd")
    if lost:
        _log.warning(
            "%s: its fonts leave %s without a meaning; read as \ufffd",
            name,
            counted(lost, "character"),
        )
    return whole
