"""HTML by construction: every string is escaped unless this module made it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "link", "br", "hr", "path", "line", "circle", "rect"})


class Markup(str):
    """Text that is already HTML; only `el`, `join` and `raw_style` make it."""

    __slots__ = ()


Child = Markup | str | None
Value = str | float | bool | None


def el(tag: str, *children: Child, **attributes: Value) -> Markup:
    """Return one element; children that are not Markup are escaped.

    Attribute names lose a trailing underscore and turn others into dashes (`class_`,
    `aria_label`); None and False leave the attribute out, True writes it alone.
    """
    head = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID and not children:
        return Markup(f"<{tag}{head}/>")
    return Markup(f"<{tag}{head}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Markup:
    """Return the children one after the other, escaping those that are not Markup."""
    return Markup("".join(safe(child) for child in children if child is not None))


def safe(child: str) -> Markup:
    """Return Markup as it is and any other text escaped, control characters removed."""
    if isinstance(child, Markup):
        return child
    visible = "".join(c for c in child if c in "\n\t" or c >= " ")
    return Markup(escape(visible, quote=True))


def raw_style(css: str) -> Markup:
    """Return this package's own style sheet as an element."""
    return Markup(f"<style>{css}</style>")


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-").replace("viewbox", "viewBox")
    if value is True:
        return f" {key}"
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return f' {key}="{safe(text)}"'
