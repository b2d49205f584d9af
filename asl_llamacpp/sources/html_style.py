"""What of an HTML document is not shown: by its style sheets, and by styles of single elements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

_PROPERTIES = frozenset({"display", "visibility", "opacity", "font-size", "color", "background", "background-color"})
_MOST_RULES = 3000
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_MEDIA = re.compile(r"@media([^{]*)\{((?:[^{}]*\{[^{}]*\})*[^{}]*)\}")
_ZERO = re.compile(r"0*\.?0+(?:px|pt|em|rem|%)?")
_NAMES = {"white": (255, 255, 255), "black": (0, 0, 0), "snow": (255, 250, 250), "ivory": (255, 255, 240)}
_NEAR = 10  # of 255: colours that nobody tells apart

Colour = tuple[int, int, int]


def styles(document: LexborHTMLParser) -> dict[int, dict[str, str]]:
    """What the style sheets in a document say of its elements, and their own attributes, by their `mem_id`."""
    found: dict[int, dict[str, str]] = {}
    sheets = "\n".join(sheet.text() or "" for sheet in document.css("style"))
    for number, (selector, declared) in enumerate(_rules(sheets)):
        if number >= _MOST_RULES:
            break
        try:
            for node in document.css(selector):
                found.setdefault(node.mem_id, {}).update(declared)
        except Exception:  # a selector that the parser does not know, for which it has an error of its own
            continue
    for node in document.css("[style]"):
        found.setdefault(node.mem_id, {}).update(declarations(node.attributes.get("style") or ""))
    return found


def _rules(sheets: str) -> list[tuple[str, dict[str, str]]]:
    sheets = _COMMENT.sub("", sheets)
    sheets = _MEDIA.sub(lambda match: match[2] if _on_screen(match[1]) else "", sheets)
    rules = [(match[1].strip(), declarations(match[2])) for match in _RULE.finditer(sheets)]
    return [(selector, declared) for selector, declared in rules if declared and not selector.startswith("@")]


def _on_screen(media: str) -> bool:
    return "(" not in media and ("screen" in media or "all" in media or not media.strip()) and "not" not in media


def declarations(text: str) -> dict[str, str]:
    """The declarations of a style that matter to whether text is seen."""
    pairs = (declared.partition(":")[::2] for declared in text.split(";"))
    cleaned = ((name.strip().lower(), value.replace("!important", "").strip().lower()) for name, value in pairs)
    return {name: value for name, value in cleaned if name in _PROPERTIES and value}


def hides(style: dict[str, str]) -> bool:
    """Whether a style takes an element and what is in it off the page."""
    return (
        style.get("display") == "none"
        or style.get("visibility") in ("hidden", "collapse")
        or any(_ZERO.fullmatch(style.get(name, "1")) is not None for name in ("opacity", "font-size"))
    )


def colour(value: str) -> Colour | None:
    """A colour in red, green and blue; None: it is not known."""
    value = value.strip().lower()
    if value in _NAMES:
        return _NAMES[value]
    if match := re.fullmatch(r"#?([0-9a-f]{3}|[0-9a-f]{6})", value):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if match := re.fullmatch(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+1(?:\.0+)?)?\s*\)", value):
        return int(match[1]), int(match[2]), int(match[3])
    return None


def alike(a: Colour, b: Colour) -> bool:
    """Whether nobody can read the one on the other."""
    return all(abs(x - y) <= _NEAR for x, y in zip(a, b, strict=True))
