"""Nothing that is not this package's own markup reaches the page unescaped."""

from __future__ import annotations

from rlhf.report.html import el, join


def test_text_and_attributes_are_escaped():
    assert el("p", "<script>", title='"><b>') == (
        '<p title="&quot;&gt;&lt;b&gt;">&lt;script&gt;</p>'
    )


def test_own_markup_nests_and_missing_children_vanish():
    assert el("p", el("b", "x"), None, class_="a", hidden=True, lang=None) == (
        '<p class="a" hidden><b>x</b></p>'
    )


def test_control_characters_vanish():
    assert join(["a\x00\x1bb\n"]) == "ab\n"


def test_void_elements_and_numbers():
    assert el("line", x1=1.25, y1=2.0, aria_hidden="true") == (
        '<line x1="1.2" y1="2" aria-hidden="true"/>'
    )
