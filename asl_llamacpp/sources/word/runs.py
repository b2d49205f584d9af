"""What a paragraph of Word says: its runs, without what was deleted, is hidden or is a field's code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element as Xml

from ..html_tree import Element, Node
from .parts import attribute, child, children, integer, is_on, name_of
from .styles import Styles

_SKIPPED = frozenset({"del", "moveFrom", "rPr", "pPr", "delText", "instrText", "delInstrText", "sdtPr", "sdtEndPr"})
_SYMBOLS = {"F0FE": "[x]", "F0FD": "[x]", "F078": "[x]", "F0A8": "[ ]", "F06F": "[ ]", "F0FC": "\u2713", "F0B7": "-"}
_LETTERS_OF_RUNS = {"tab": " ", "ptab": " ", "noBreakHyphen": "-", "cr": "\n"}


@dataclass
class Said:
    """nodes     texts, line breaks and raised text, for the tree
    boxes     contents of text boxes: paragraphs that stand beside this one
    notes     ids of foot- and endnotes that it refers to, as ("footnote", "2")
    comments  ids of comments on it
    n_hidden  words that are hidden
    """

    nodes: list[Node] = field(default_factory=list)
    boxes: list[Xml] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    n_hidden: int = 0


def said(paragraph: Xml, styles: Styles, hidden: bool, shaded: bool) -> Said:
    """What a paragraph says.

    hidden  whether its style hides it
    shaded  whether it stands on a ground that is not white, or may: then white letters can be read
    """
    found = Said()
    waiting = [(paragraph, False, hidden)]
    while waiting:
        element, raised, is_hidden = waiting.pop()
        name = name_of(element)
        if name == "r":
            own = child(element, "rPr")
            is_hidden = _is_hidden(own, styles, is_hidden, shaded)
            raised = attribute(child(own, "vertAlign")) == "superscript"
        elif name in ("footnoteReference", "endnoteReference"):
            found.notes.append((name.removesuffix("Reference"), attribute(element, "id") or ""))
            found.nodes.append(f"[{len(found.notes)}]\0")
        elif name == "commentReference":
            found.comments.append(attribute(element, "id") or "")
        elif name == "txbxContent":
            found.boxes.append(element)
            continue
        elif name == "br":
            found.nodes.append(Element("br"))
        text = _text(element, name)
        if text and is_hidden:
            found.n_hidden += len(text.split())
        elif text:
            found.nodes.append(Element("sup", {}, [text]) if raised and text.strip() else text)
        waiting += [(below, raised, is_hidden) for below in reversed(list(_parts(element, name)))]
    return found


def _parts(element: Xml, name: str) -> Iterator[Xml]:
    if name == "AlternateContent":  # the same thing several times: the first is the newest
        ways = [*children(element, "Choice"), *children(element, "Fallback")]
        return iter(ways[0]) if ways else iter(())
    return (below for below in element if name_of(below) not in _SKIPPED)


def _is_hidden(properties: Xml | None, styles: Styles, is_hidden: bool, shaded: bool) -> bool:
    if properties is None:
        return is_hidden
    vanish = child(properties, "vanish")
    if vanish is not None:
        return is_on(vanish)
    if styles.get(attribute(child(properties, "rStyle"))).is_hidden:
        return True
    white = (attribute(child(properties, "color")) or "").upper() == "FFFFFF"
    on_ground = shaded or child(properties, "shd") is not None or child(properties, "highlight") is not None
    return is_hidden or (white and not on_ground)


def _text(element: Xml, name: str) -> str:
    if name == "t":
        return element.text or ""
    if name == "sym":
        code = (attribute(element, "char") or "").upper()
        return _SYMBOLS.get(code, "")
    if name == "docPr":
        return attribute(element, "descr") or ""
    if name == "ffData":
        return _field_value(element)
    return _LETTERS_OF_RUNS.get(name, "")


def _field_value(data: Xml) -> str:
    """What is chosen in a form field of the older kind; what is written in one is text like other text."""
    box = child(data, "checkBox")
    if box is not None:
        state = child(box, "checked")
        return "[x]" if is_on(child(box, "default") if state is None else state) else "[ ]"
    choices = child(data, "ddList")
    if choices is not None:
        entries = [attribute(entry) or "" for entry in children(choices, "listEntry")]
        at = integer(child(choices, "result"))
        at = integer(child(choices, "default")) if at is None else at
        return entries[at or 0] if 0 <= (at or 0) < len(entries) else ""
    return ""
