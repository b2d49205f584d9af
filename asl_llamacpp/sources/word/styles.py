"""Styles of a Word document: headings, numbers and what is hidden, those that a style is based on included."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from .parts import attribute, child, children, integer, is_on

_DEEPEST = 20
_LEVELS = {"title": 1, "subtitle": 2, **{f"heading {level}": min(level, 6) for level in range(1, 10)}}
_NO_OUTLINE = 9


@dataclass(frozen=True)
class Style:
    """level      of a heading, from 1; None: it is none
    num_id     the list that its paragraphs are in; None: none
    num_level  at which level of that, if it says so
    is_hidden  whether its text is hidden
    """

    level: int | None = None
    num_id: str | None = None
    num_level: int | None = None
    is_hidden: bool = False


class Styles:
    """Styles by their ids."""

    def __init__(self, root: Element | None) -> None:
        self._elements = {attribute(style, "styleId") or "": style for style in children(root, "style")}
        self._known: dict[str, Style] = {}

    def get(self, style_id: str | None) -> Style:
        """A style; one that says nothing for an id that is not known."""
        if style_id is None or style_id not in self._elements:
            return Style()
        if style_id not in self._known:
            self._known[style_id] = self._resolved(style_id)
        return self._known[style_id]

    def chain(self, style_id: str) -> list[str]:
        """A style's id, and those that it is based on."""
        ids: list[str] = []
        at: str | None = style_id
        while at is not None and at in self._elements and at not in ids and len(ids) < _DEEPEST:
            ids.append(at)
            at = attribute(child(self._elements[at], "basedOn"))
        return ids

    def _resolved(self, style_id: str) -> Style:
        level = num_id = num_level = hidden = None
        for one in self.chain(style_id):
            element = self._elements[one]
            properties = child(element, "pPr")
            if level is None:
                level = _LEVELS.get((attribute(child(element, "name")) or "").lower()) or outline_level(properties)
            numbers = child(properties, "numPr")
            if num_id is None and numbers is not None:
                num_id = attribute(child(numbers, "numId"))
                num_level = integer(child(numbers, "ilvl"))
            vanish = child(element, "rPr", "vanish")
            if hidden is None and vanish is not None:
                hidden = is_on(vanish)
        return Style(level, num_id, num_level, bool(hidden))


def outline_level(properties: Element | None) -> int | None:
    """The level of a heading that the properties of a paragraph say; None: they say none."""
    level = integer(child(properties, "outlineLvl"))
    return None if level is None or not 0 <= level < _NO_OUTLINE else min(level + 1, 6)
