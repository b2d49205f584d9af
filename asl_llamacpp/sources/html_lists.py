"""What browsers put before the items of a list."""

from __future__ import annotations

from dataclasses import dataclass

from .html_tree import Element
from .numerals import letters, roman


@dataclass(frozen=True)
class ItemLabel:
    """number  that the item has in its list; `text` stands before it."""

    number: int
    text: str


def item_label(parent: Element, item: Element, before: int) -> ItemLabel:
    """The label of an item, whose list has counted to `before`."""
    if parent.tag != "ol":
        return ItemLabel(before + 1, "- ")
    if before == 0:
        before = _integer(parent.attrs.get("start", ""), 1) - 1
    number = _integer(item.attrs.get("value", ""), before + 1)
    return ItemLabel(number, f"{_shown(number, parent.attrs.get('type', ''))}. ")


def _shown(number: int, kind: str) -> str:
    if kind in ("a", "A"):
        return letters(number) if kind == "a" else letters(number).upper()
    if kind in ("i", "I"):
        return roman(number) if kind == "i" else roman(number).upper()
    return str(number)


def _integer(text: str, otherwise: int) -> int:
    try:
        return int(text[:9])
    except ValueError:
        return otherwise
