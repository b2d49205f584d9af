"""The numbers that Word puts before paragraphs: they stand nowhere in the text, and are counted here as Word counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ..numerals import repeated_letters, roman
from .parts import attribute, child, children, integer, is_on
from .styles import Styles

_N_LEVELS = 9
_PLACE = re.compile(r"%([1-9])")


@dataclass(frozen=True)
class Level:
    """start    the first number
    kind     of numbers, as Word calls it
    text     with %1 where the number of the first level stands; None: as the number itself
    style    id of the paragraph style that is this level
    legal    whether all numbers in it are Arabic ones
    restarts whether it begins anew below a higher level
    """

    start: int = 1
    kind: str = "decimal"
    text: str | None = None
    style: str | None = None
    legal: bool = False
    restarts: bool = True


class Numbering:
    """Lists of a document. Ask for the label of each paragraph once, in their order."""

    def __init__(self, root: Element | None, styles: Styles) -> None:
        self._styles = styles
        self._abstract = {attribute(one, "abstractNumId") or "": one for one in children(root, "abstractNum")}
        self._numbers = {attribute(one, "numId") or "": one for one in children(root, "num")}
        self._levels: dict[str, dict[int, Level]] = {}
        self._counts: dict[str, list[int | None]] = {}
        self._begun: set[tuple[str, int]] = set()

    def place(self, properties: Element | None, style_id: str | None) -> tuple[str, int] | None:
        """List and level of a paragraph, by its own properties or by its style; None: it has no number."""
        own, style = child(properties, "numPr"), self._styles.get(style_id)
        num_id = attribute(child(own, "numId")) or style.num_id
        if num_id is None or num_id not in self._numbers:
            return None
        level = integer(child(own, "ilvl"))
        if level is None and style_id is not None and attribute(child(own, "numId")) is None:
            level = self._level_of_style(num_id, style_id)
            level = style.num_level if level is None else level
        return num_id, min(max(level or 0, 0), _N_LEVELS - 1)

    def label(self, num_id: str, at: int) -> str:
        """What stands before the next paragraph of a list at a level: "3.", "b)", "1.2", "-"; empty for no number."""
        levels = self._levels_of(num_id)
        key = self._counted_by(num_id)
        counts = self._counts.setdefault(key, [None] * _N_LEVELS)
        level = levels.get(at, Level())
        override = self._start_override(num_id, at)
        if override is not None and (num_id, at) not in self._begun:
            counts[at] = override
        else:
            count = counts[at]
            counts[at] = level.start if count is None else count + 1
        self._begun.add((num_id, at))
        for deeper in range(at + 1, _N_LEVELS):
            if levels.get(deeper, Level()).restarts:
                counts[deeper] = None
        if level.kind == "bullet":
            return "-"
        if level.kind == "none":
            return (level.text or "") if "%" not in (level.text or "") else ""

        def number(match: re.Match[str]) -> str:
            k = int(match[1]) - 1
            own = levels.get(k, Level())
            count = counts[k]
            return shown(own.start if count is None else count, "decimal" if level.legal else own.kind)

        return _PLACE.sub(number, f"%{at + 1}." if level.text is None else level.text).strip()

    def _level_of_style(self, num_id: str, style_id: str) -> int | None:
        by_style = {level.style: at for at, level in self._levels_of(num_id).items() if level.style is not None}
        return next((by_style[one] for one in self._styles.chain(style_id) if one in by_style), None)

    def _counted_by(self, num_id: str) -> str:
        """Lists made of one definition count on."""
        return attribute(child(self._numbers[num_id], "abstractNumId")) or num_id

    def _start_override(self, num_id: str, at: int) -> int | None:
        for override in children(self._numbers[num_id], "lvlOverride"):
            if integer(override, "ilvl") == at:
                return integer(child(override, "startOverride"))
        return None

    def _levels_of(self, num_id: str) -> dict[int, Level]:
        if num_id not in self._levels:
            levels = _levels(self._definition(num_id))
            for override in children(self._numbers[num_id], "lvlOverride"):
                levels |= _levels(override)
            self._levels[num_id] = levels
        return self._levels[num_id]

    def _definition(self, num_id: str) -> Element | None:
        """The definition of a list, which may stand in a style instead."""
        definition = self._abstract.get(self._counted_by(num_id))
        link = attribute(child(definition, "numStyleLink"))
        other = self._styles.get(link).num_id if link is not None else None
        if other is not None and other in self._numbers and other != num_id:
            return self._abstract.get(self._counted_by(other))
        return definition


def _levels(definition: Element | None) -> dict[int, Level]:
    found = {}
    for level in children(definition, "lvl"):
        start, text = integer(child(level, "start")), child(level, "lvlText")
        found[integer(level, "ilvl") or 0] = Level(
            1 if start is None else start,
            attribute(child(level, "numFmt")) or "decimal",
            None if text is None else attribute(text) or "",
            attribute(child(level, "pStyle")),
            is_on(child(level, "isLgl")),
            integer(child(level, "lvlRestart")) != 0,
        )
    return found


def shown(number: int, kind: str) -> str:
    """A number as a list of this kind has it; kinds that are not known here are digits."""
    if kind in ("lowerLetter", "upperLetter"):
        text = repeated_letters(number)
    elif kind in ("lowerRoman", "upperRoman"):
        text = roman(number)
    elif kind == "decimalZero":
        return f"{number:02}"
    elif kind == "ordinal":
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    else:
        return str(number)
    return text.upper() if kind.startswith("upper") else text
