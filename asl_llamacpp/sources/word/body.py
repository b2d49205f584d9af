"""The body of a Word document as a tree that is read like HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element as Xml

from ..html_tree import Element, Node
from ..html_walk import LABEL
from .numbering import Numbering
from .parts import attribute, child, children, integer, name_of
from .runs import said
from .styles import Styles, outline_level

_DEEPEST_TABLE = 30
_MOST_SPANNED = 200


@dataclass
class Body:
    """What is known while a document is read.

    notes     paragraphs of foot- and endnotes, by kind and id
    comments  author and text, by id
    n_hidden  words that are hidden
    """

    styles: Styles
    numbering: Numbering
    notes: dict[tuple[str, str], Xml] = field(default_factory=dict)
    comments: dict[str, tuple[str, str]] = field(default_factory=dict)
    n_hidden: int = 0
    _referred: list[tuple[int, Xml]] = field(default_factory=list)

    def tree(self, body: Xml) -> Element:
        """The document, its notes at its end."""
        top = Element("html", {}, self.blocks(body, False, 0))
        for number, note in self._referred:  # grows, if notes refer to notes
            blocks = self.blocks(note, False, 0)
            first = next((block for block in blocks if isinstance(block, Element)), None)
            if first is not None:
                first.children.insert(0, f"[{number}] ")
                top.children.extend(blocks)
        return top

    def blocks(self, container: Xml, shaded: bool, depth: int) -> list[Node]:
        """Paragraphs and tables."""
        found: list[Node] = []
        for element in _unwrapped(container):
            name = name_of(element)
            if name == "p":
                found += self._paragraph(element, shaded, depth)
            elif name == "tbl" and depth < _DEEPEST_TABLE:
                found.append(self._table(element, depth))
        return found

    def _paragraph(self, paragraph: Xml, shaded: bool, depth: int) -> Iterator[Node]:
        properties = child(paragraph, "pPr")
        style_id = attribute(child(properties, "pStyle"))
        style = self.styles.get(style_id)
        text = said(paragraph, self.styles, style.is_hidden, shaded or child(properties, "shd") is not None)
        self.n_hidden += text.n_hidden
        place = self.numbering.place(properties, style_id)
        nodes = [self._with_note_number(node, text.notes) for node in text.nodes]
        is_empty = not any(not isinstance(node, str) or node.strip() for node in nodes)
        # Word numbers empty paragraphs, too, but not hidden ones
        label = self.numbering.label(*place) if place is not None and not (is_empty and text.n_hidden) else ""
        if not is_empty:
            level = outline_level(properties) or style.level
            if level is not None:
                yield Element(f"h{level}", {}, [f"{label} ", *nodes] if label and label != "-" else nodes)
            elif place is not None and label:
                yield Element("li", {LABEL: "  " * place[1] + label}, nodes)
            else:
                yield Element("p", {}, nodes)
        for box in text.boxes:
            yield from self.blocks(box, True, depth + 1) if depth < _DEEPEST_TABLE else ()
        for comment in text.comments:
            author, words = self.comments.get(comment, ("", ""))
            if words:
                yield Element("p", {}, [f"Comment ({author}): {words}" if author else f"Comment: {words}"])

    def _with_note_number(self, node: Node, notes: list[tuple[str, str]]) -> Node:
        """The number of a note in the document, for that in its paragraph."""
        if not isinstance(node, str) or not node.endswith("\0"):
            return node
        note = self.notes.get(notes[int(node[1:-2]) - 1])
        if note is None:
            return ""
        self._referred.append((len(self._referred) + 1, note))
        return f"[{len(self._referred)}]"

    def _table(self, table: Xml, depth: int) -> Element:
        rows: list[Node] = []
        open_cells: dict[int, Element] = {}  # by column: those that go on below
        for row in _unwrapped(table):
            properties = child(row, "trPr")
            if name_of(row) != "tr" or child(properties, "del") is not None:
                continue
            line: list[Node] = []
            column = _skipped(line, child(properties, "gridBefore"))
            for cell in _unwrapped(row):
                if name_of(cell) != "tc":
                    continue
                own = child(cell, "tcPr")
                across = min(max(integer(child(own, "gridSpan")) or 1, 1), _MOST_SPANNED)
                merge = child(own, "vMerge")
                if merge is not None and attribute(merge) != "restart" and column in open_cells:
                    above = open_cells[column]
                    above.attrs["rowspan"] = str(int(above.attrs["rowspan"]) + 1)
                else:
                    shaded = child(own, "shd") is not None or child(table, "tblPr", "tblStyle") is not None
                    blocks = self.blocks(cell, shaded, depth + 1)
                    made = Element("td", {"colspan": str(across), "rowspan": "1"}, blocks)
                    line.append(made)
                    open_cells.pop(column, None)
                    if merge is not None:
                        open_cells[column] = made
                column += across
            rows.append(Element("tr", {}, line))
        return Element("table", {}, rows)


def _skipped(line: list[Node], before: Xml | None) -> int:
    n = min(max(integer(before) or 0, 0), _MOST_SPANNED)
    line += [Element("td") for _ in range(n)]
    return n


def _unwrapped(container: Xml) -> Iterator[Xml]:
    """What is in a container, controls and changes around it taken off."""
    for element in container:
        name = name_of(element)
        if name == "sdt":
            content = child(element, "sdtContent")
            yield from () if content is None else _unwrapped(content)
        elif name in ("ins", "moveTo", "customXml", "smartTag"):
            yield from _unwrapped(element)
        elif name == "AlternateContent":
            choice = next(children(element, "Choice"), None)
            yield from () if choice is None else _unwrapped(choice)
        else:
            yield element
