"""Takes out of a tree what a browser does not show."""

from __future__ import annotations

from dataclasses import dataclass

from .html_style import Colour, alike, colour, hides
from .html_tree import Element, Node

_NEVER_SHOWN = frozenset(
    {"script", "style", "template", "noscript", "head", "title", "iframe", "object", "svg", "video", "audio", "canvas"}
    | {"button", "datalist", "nav", "map"}
)
"""What has no text for readers, or menus; these go without a word."""
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class _Colours:
    text: Colour | None
    ground: Colour | None  # None: it is a picture, or not known


def drop_hidden(tree: Element) -> int:
    """Take out scripts and their like, and text that is hidden; returns how many words of it there were."""
    has_sheets = any("stylesheet" in link.attrs.get("rel", "").lower() for link in tree.all("link"))
    ground = None if has_sheets else _WHITE  # what other files say is not known
    n = 0
    waiting = [(tree, _Colours(None, ground))]
    while waiting:
        element, colours = waiting.pop()
        kept: list[Node] = []
        for child in element.children:
            if isinstance(child, str):
                if _is_unseen(colours):
                    n += len(child.split())
                else:
                    kept.append(child)
            elif child.tag in _NEVER_SHOWN:
                continue
            elif _is_hidden(child):
                n += len(child.text().split())
            else:
                kept.append(child)
                waiting.append((child, _colours(child, colours)))
        element.children = kept
    return n


def _is_hidden(element: Element) -> bool:
    return (
        "hidden" in element.attrs or hides(element.style) or (element.tag == "dialog" and "open" not in element.attrs)
    )


def _is_unseen(colours: _Colours) -> bool:
    return colours.text is not None and colours.ground is not None and alike(colours.text, colours.ground)


def _colours(element: Element, outer: _Colours) -> _Colours:
    style = element.style
    text = style.get("color") or (element.attrs.get("color") if element.tag == "font" else None)
    ground = style.get("background-color") or style.get("background") or element.attrs.get("bgcolor")
    if ground in ("none", "transparent", "inherit", "initial"):
        ground = None
    picture = "background" in element.attrs or "url(" in style.get("background", "")
    return _Colours(
        outer.text if text is None else colour(text),
        None if picture else outer.ground if ground is None else colour(ground),
    )
