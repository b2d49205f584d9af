"""WordprocessingML by local names: the strict and the usual kind differ in their namespaces alone."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element


def name_of(element: Element) -> str:
    """An element's name without its namespace; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def child(element: Element | None, *path: str) -> Element | None:
    """The first of the elements with these names, one below the other."""
    for name in path:
        if element is None:
            return None
        element = next((below for below in element if name_of(below) == name), None)
    return element


def children(element: Element | None, name: str) -> Iterator[Element]:
    """The elements with a name right below one."""
    return iter(()) if element is None else (below for below in element if name_of(below) == name)


def attribute(element: Element | None, name: str = "val") -> str | None:
    """An attribute, whatever its namespace."""
    if element is None:
        return None
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def integer(element: Element | None, name: str = "val") -> int | None:
    """An attribute that is a number; None where there is none."""
    text = attribute(element, name)
    try:
        return None if text is None else int(text[:9])
    except ValueError:
        return None


def is_on(element: Element | None) -> bool:
    """Whether a switch is there, and not turned off."""
    return element is not None and attribute(element) not in ("0", "false", "off", "none")
