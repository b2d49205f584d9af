"""HTML as browsers understand it: a tree of elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_DEEPEST = 4000
_DOCTYPE = re.compile(r"<!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>", re.IGNORECASE)
_DOCTYPE_WITHIN = 4096
_NOSCRIPT = re.compile(r"<noscript\b[^>]*>.*?</noscript\s*>", re.IGNORECASE | re.DOTALL)
_OPEN_OR_CLOSE = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
# their end tags are often left out, or they have none
_CLOSED_BY_OTHERS = frozenset(
    {"p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "option", "optgroup", "rp", "rt"}
    | {"br", "img", "hr", "input", "meta", "link", "col", "wbr", "area", "base", "source", "track", "embed", "param"}
    | {"html", "head", "body"}
)

Node: TypeAlias = "Element | str"


@dataclass
class Element:
    """tag       in lower case
    attrs     by name in lower case
    children  elements and texts
    style     what style sheets in the document and its own attribute say, by property
    """

    tag: str
    attrs: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    style: dict[str, str] = field(default_factory=dict)

    def all(self, *tags: str) -> Iterator[Element]:
        """Elements with one of these tags below this one, in their order."""
        below: list[Node] = list(reversed(self.children))
        while below:
            node = below.pop()
            if isinstance(node, Element):
                if node.tag in tags:
                    yield node
                below.extend(reversed(node.children))

    def text(self) -> str:
        """All text below."""
        pieces: list[str] = []
        below: list[Node] = list(reversed(self.children))
        while below:
            node = below.pop()
            if isinstance(node, Element):
                below.extend(reversed(node.children))
            else:
                pieces.append(node)
        return "".join(pieces)


def parse_html(html: str) -> Element:
    """The tree of an HTML document or of a part of one, as HTML's own rules have it.

    Raises RecursionError if it is nested too deeply.
    """
    from selectolax.lexbor import LexborHTMLParser

    if doctype := _DOCTYPE.search(html, 0, _DOCTYPE_WITHIN):  # HTML takes the end of one of XML for text
        html = html[: doctype.start()] + html[doctype.end() :]
    html = _NOSCRIPT.sub(" ", html)  # scripts would have run
    _check_depth(html)
    document = LexborHTMLParser(html.encode("utf-8", "replace"))
    return _tree(document)


def _check_depth(html: str) -> None:
    depth = deepest = 0
    for match in _OPEN_OR_CLOSE.finditer(html):
        if match[2].lower() not in _CLOSED_BY_OTHERS:
            depth = max(depth - 1, 0) if match[1] else depth + 1
            deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise RecursionError(f"{deepest:,} levels")


def _tree(document: LexborHTMLParser) -> Element:
    from .html_style import styles

    by_node = styles(document)
    top = Element("html")
    if document.root is None:
        return top
    waiting: list[tuple[LexborNode, Element]] = [(document.root, top)]
    while waiting:
        node, element = waiting.pop()
        child = node.child
        while child is not None:
            if child.is_text_node:
                element.children.append(child.text_content or "")
            elif child.is_element_node:
                attrs = {name.lower(): value or "" for name, value in child.attributes.items()}
                below = Element((child.tag or "").lower(), attrs, [], by_node.get(child.mem_id, {}))
                element.children.append(below)
                waiting.append((child, below))
            child = child.next
    return top
