"""A PDF written by hand (ISO 32000-1): pages of lines, for tests that read one."""

from __future__ import annotations

from collections.abc import Sequence

FIGURE: Sequence[str] = ()
"""A page that shows a rectangle and no text, as a scan would."""


def pdf(*pages: Sequence[str]) -> bytes:
    """Return a PDF with a page for each list of lines, in Helvetica."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        shown = _shown(lines)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown),
        ]
    return _file(objects)


def _shown(lines: Sequence[str]) -> bytes:
    if not lines:
        return b"0.5 g 50 50 100 100 re f"
    escaped = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
    shown = " T* ".join(f"({line}) Tj" for line in escaped)
    return f"BT /F1 12 Tf 14 TL 20 250 Td {shown} ET".encode("latin-1")


def _file(objects: Sequence[bytes]) -> bytes:
    found, places = bytearray(b"%PDF-1.4\n"), list[int]()
    for number, content in enumerate(objects, 1):
        places.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(found)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    found += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    found += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(found)
