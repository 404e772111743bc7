"""The text of a PDF is what its pages show, and a file that has none is refused in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlhf.data.documents import parted
from rlhf.data.pdf import pdf_text
from rlhf.errors import DataError
from tests.pdf import FIGURE, pdf

pypdf = pytest.importorskip("pypdf", reason="requirements.lock has it; make .venv")


def test_the_lines_of_all_pages_are_read_in_their_order():
    content = pdf(["The pump", "Press (twice)"], ["It stops."])
    assert pdf_text(content, "a.pdf") == "The pump\nPress (twice)\n\nIt stops."


def test_what_another_program_wrote_is_read_the_same():
    """pypdf's own writer packs the pages' contents, as those of all programs do."""
    import io

    writer, packed = pypdf.PdfWriter(io.BytesIO(pdf(["The pump"], ["stops"]))), io.BytesIO()
    for page in writer.pages:
        page.compress_content_streams()
    writer.write(packed)
    assert b"FlateDecode" in packed.getvalue()
    assert pdf_text(packed.getvalue(), "a.pdf") == "The pump\n\nstops"


def test_pages_that_are_pictures_are_told(caplog):
    assert pdf_text(pdf(["one"], FIGURE, ["three"], FIGURE), "a.pdf") == "one\n\n\n\nthree\n\n"
    assert "a.pdf: 2 of its 4 pages have no text, the first of them page 2" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pdf(FIGURE), "its page has no text; pages that are pictures (scans) need text recogn"),
        (pdf(FIGURE, FIGURE), "none of its 2 pages has text"),
        (b"Just words.", "is no PDF, though it is called so"),
        (b"%PDF-1.4\n" + bytes(range(256)), "a damaged PDF: "),
        (b"%PDF-1.4\n" + pdf(["one"])[400:], "a damaged PDF: "),
    ],
)
def test_a_file_without_text_is_one_line_that_says_why(content, said):
    with pytest.raises(DataError) as caught:
        pdf_text(content, "a.pdf")
    assert str(caught.value).startswith("a.pdf: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_password_is_asked_for_by_nobody(algorithm):
    import io

    for password, is_read in (("secret", False), ("", True)):
        writer, locked = pypdf.PdfWriter(io.BytesIO(pdf(["one"]))), io.BytesIO()
        writer.encrypt(password, "owner", algorithm=algorithm)
        writer.write(locked)
        if is_read:
            assert pdf_text(locked.getvalue(), "a.pdf") == "one"
        else:
            with pytest.raises(DataError, match=r"^a.pdf: is encrypted; save it without a pass"):
                pdf_text(locked.getvalue(), "a.pdf")


def test_what_the_reader_repairs_is_told(caplog):
    content = pdf(["one"])
    moved = content.replace(b"startxref\n", b"startxref\n7")
    assert pdf_text(moved, "a.pdf") == "one"
    assert "a.pdf: not quite as a PDF should be, text may lack: " in caplog.text


def test_halves_of_characters_are_read_as_one_sign_and_told(caplog):
    from rlhf.data.pdf import _spelled

    text = _spelled("a\ud83d\ude00b\ud800c", "a.pdf")
    assert text == "a\U0001f600b\ufffdc"
    assert "leave 1 character without a meaning" in caplog.text
    assert "".join(parted(text)) == text


def test_without_the_reader_one_line_says_how_to_get_it(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["one"]))
    program = (
        "import sys; sys.modules['pypdf'] = None; from pathlib import Path;"
        "from rlhf.commands.exit import end_with; from rlhf.data.pdf import pdf_text;"
        "end_with(lambda: pdf_text(Path('a.pdf').read_bytes(), 'a.pdf'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr == (
        "rlhf: a.pdf: PDF files are read by pypdf, which is not installed; "
        "pip install 'rlhf[pdf]' adds it\n"
    )
