"""From a tree of HTML to blocks of text. Goes on one level of the stack, however deep the tree is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .html_blocks import Blocks
from .html_lists import item_label
from .html_table import data_rows
from .html_tree import Element, Node
from .markdown_table import markdown_table
from .plain_text import clean

LABEL = " label"
"""An attribute that no HTML has: what stands before an item instead of what a browser would put there."""

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_APART = frozenset(
    {"p", "ul", "ol", "dl", "table", "blockquote", "pre", "figure", "fieldset", "hr", "section", "article"}
)
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"}
    | {"kbd", "label", "mark", "math", "nobr", "output", "q", "ruby", "rb", "rt", "rp", "s", "samp", "small", "span"}
    | {"strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "input", "select", "textarea", "meter"}
    | {"progress", "slot", "picture", "option", "optgroup", "mi", "mn", "mo", "mrow", "msup", "msub", "mfrac", "msqrt"}
)
_DEEPEST_LIST = 20
_WRITTEN = ("text", "email", "tel", "url", "number", "date", "search", "time", "month", "week", "datetime-local", "")

_Step: TypeAlias = "Node | Callable[[], None]"


def walk(tree: Element, blocks: Blocks) -> None:
    """Add the text of a tree."""
    _Walk(blocks).run(tree)


@dataclass
class _List:
    element: Element
    count: int = 0


class _Walk:
    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._steps: list[_Step] = []
        self._lists: list[_List] = []

    def run(self, tree: Element) -> None:
        self._steps = list(reversed(tree.children))
        while self._steps:
            step = self._steps.pop()
            if isinstance(step, str):
                self._blocks.text(clean(step))
            elif isinstance(step, Element):
                self._element(step)
            else:
                step()

    def _inside(self, element: Element, after: Callable[[], None] | None = None) -> None:
        if after is not None:
            self._steps.append(after)
        self._steps.extend(reversed(element.children))

    def _element(self, element: Element) -> None:
        tag, blocks = element.tag, self._blocks
        if tag in _HEADINGS:
            blocks.gap(2)
            self._inside(element, lambda: self._heading_ends(_HEADINGS[tag]))
        elif tag == "br":
            blocks.line_break()
        elif tag == "hr":
            blocks.gap(2)
            blocks.literal("---")
            blocks.gap(2)
        elif tag == "pre":
            blocks.gap(2)
            code = clean(element.text())
            blocks.literal(f"```\n{code.strip(chr(10))}\n```" if code.strip() else "")
            blocks.gap(2)
        elif tag in ("ul", "ol", "menu", "dir"):
            blocks.gap(1 if self._lists else 2)
            self._lists.append(_List(element))
            self._inside(element, self._list_ends)
        elif tag == "li":
            self._item(element)
        elif tag == "dd":
            blocks.gap(1)
            blocks.push(": ", "  ")
            self._inside(element, self._prefix_ends)
        elif tag == "blockquote":
            blocks.gap(2)
            blocks.push("> ", "> ")
            self._inside(element, self._quote_ends)
        elif tag == "table":
            self._table(element)
        elif tag in _INLINE:
            self._inline(element)
        else:
            n = 2 if tag in _APART else 1
            blocks.gap(n)
            self._inside(element, lambda: blocks.gap(n))

    def _heading_ends(self, level: int) -> None:
        self._blocks.close(level)
        self._blocks.gap(2)

    def _prefix_ends(self) -> None:
        self._blocks.gap(1)
        self._blocks.pop()

    def _quote_ends(self) -> None:
        self._prefix_ends()
        self._blocks.gap(2)

    def _list_ends(self) -> None:
        self._lists.pop()
        self._blocks.gap(1 if self._lists else 2)

    def _item(self, element: Element) -> None:
        self._blocks.gap(1)
        if LABEL in element.attrs:
            label_text = element.attrs[LABEL]
            self._blocks.push(label_text + " ", " " * (len(label_text) - len(label_text.lstrip()) + 2))
            self._inside(element, self._prefix_ends)
            return
        one = self._lists[-1] if self._lists else _List(Element("ul"))
        label = item_label(one.element, element, one.count)
        one.count = label.number
        self._blocks.push(label.text, "  " if len(self._lists) < _DEEPEST_LIST else "")
        self._inside(element, self._prefix_ends)

    def _table(self, element: Element) -> None:
        self._blocks.gap(2)
        rows = data_rows(element, cell_text)
        if rows is None:  # a table that lays the page out: its cells are read one after another
            self._inside(element, lambda: self._blocks.gap(2))
            return
        for caption in element.all("caption"):
            self._blocks.text(clean(caption.text()))
            self._blocks.gap(1)
        self._blocks.literal(markdown_table(rows))
        self._blocks.gap(2)

    def _inline(self, element: Element) -> None:
        tag, blocks = element.tag, self._blocks
        if tag == "img":
            blocks.text(clean(element.attrs.get("alt", "")))
        elif tag == "input":
            blocks.text(clean(_value(element)))
        elif tag == "select":
            options = list(element.all("option"))
            chosen = [option for option in options if "selected" in option.attrs] or options[:1]
            blocks.text(clean(", ".join(option.text().strip() for option in chosen)))
        elif tag in ("sup", "rt", "q"):
            before, after = {"sup": ("^", "^"), "rt": ("(", ")"), "q": ("\u201c", "\u201d")}[tag]
            if element.text().strip():
                blocks.text(before)
                self._inside(element, lambda: blocks.text(after))
        elif tag != "rp":
            self._inside(element)


def _value(element: Element) -> str:
    kind = element.attrs.get("type", "").lower()
    if kind in ("checkbox", "radio"):
        return "[x] " if "checked" in element.attrs else "[ ] "
    return element.attrs.get("value", "") if kind in _WRITTEN else ""


def cell_text(cell: Element) -> str:
    """What a cell of a table says, in one line."""
    blocks = Blocks()
    walk(cell, blocks)
    return " ".join(blocks.finished()[0].split())
