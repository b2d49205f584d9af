"""Words that a hyphen divides at the end of a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+)[-\xad\u2010]$")
_FIRST = re.compile(r"[^\W\d_]+")
_HANGING = frozenset({"und", "oder", "bzw", "sowie", "and", "or", "to", "et", "ou", "y", "o", "e", "ed", "en", "och"})
"""Words behind a hyphen that stands for what both words end with, as in "pre- and postwar"."""


class Words:
    """The words of a document, to tell whether a hyphen belongs to one."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._known: set[str] = set()
        for text in texts:
            self._known.update(word.lower() for word in _WORD.findall(text))

    def join(self, line: str, after: str) -> tuple[int, str]:
        """How many characters at the end of a line go, and what comes between it and the line that goes on."""
        before = _LAST.search(line)
        if before is None:
            goes_on = line[-1:] == "-" and line[-2:-1].isdigit() and after[:1].isdigit()
            return (0, "") if goes_on or (_is_spaceless(line[-1:]) and _is_spaceless(after[:1])) else (0, " ")
        if line[-1] == "\xad":
            return 1, ""
        behind = _FIRST.match(after)
        if behind is None or behind[0] in _HANGING:
            return (0, "") if after[:1].isdigit() else (0, " ")
        if not after[0].islower():
            return 0, ""
        whole, hyphened = (before[1] + mark + behind[0] for mark in ("", "-"))
        if hyphened.lower() in self._known and whole.lower() not in self._known:
            return 0, ""
        return 1, ""


def _is_spaceless(char: str) -> bool:
    """Whether a character is of a script that has no spaces between words."""
    return "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffef"
