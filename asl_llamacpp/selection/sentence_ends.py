"""Where sentences and lines end, in UTF-8."""

# ruff: noqa: RUF001 - the signs are those of many scripts

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def _one_of(characters: str) -> bytes:
    return b"(?:" + b"|".join(re.escape(character.encode()) for character in characters) + b")"


_CLOSING = b"(?:" + _one_of("\"')]»”’」』）】》") + rb"|\[\d{1,3}\])*"
_SPACE = rb"(?:\s|\xc2\xa0|\xe3\x80\x80|\Z)"
_SMALL = rb"(?:[a-z]|\xc3[\x9f-\xbf]|\xce[\xac-\xbf]|\xcf[\x80-\x8e]|\xd0[\xb0-\xbf]|\xd1[\x80-\x9f])"

_END = re.compile(
    b"(?:" + _one_of(".!?…") + b")+" + _CLOSING + b"(?=" + _SPACE + rb")(?![ \t]+" + _SMALL + b")|"
    # Chinese and Japanese; Arabic and Urdu; Indic; Armenian, Ethiopic, Burmese, Khmer
    b"(?:" + _one_of("。！？｡．؟۔।॥։።။។") + b")+" + _CLOSING
)  # fmt: skip
"""Nothing that a small letter follows ends a sentence: it is an abbreviation, an ellipsis, or speech."""

_BEGIN = rb"(?<![\w\x80-\xff])"
_TITLE = _BEGIN + rb"(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Mt|Rev|Hon|Gen|Sen|Rep|Gov|Capt|Lt|Col|Sgt|vs|cf|ca|approx|bzw)\."
_NUMBERED = _BEGIN + rb"(?:No|Nos|Nr|Figs?|Eq|Sec|Art|Abs|Ch|Vol|Tab|pp?|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)\."
_ITEM = rb"(?:\A|(?<=\n))[ \t]*\d{1,3}\."
_GERMAN_DATE = _BEGIN + rb"\d{1,2}\.(?=\s(?:Jan|Feb|M\xc3\xa4rz|April|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez|Jahrh))"
_NO_END = re.compile(b"|".join((_TITLE, _NUMBERED + rb"(?=\s+\d)", _ITEM, _GERMAN_DATE)))

_LINE_END = re.compile(rb"[\n\v\f](?:[ \t\r]*[\n\v\f])*")

_STOP = re.compile(rb"[.!?](?=" + _SPACE + b")")
_CLAUSE = re.compile(rb"[;:](?=" + _SPACE + b")|" + _one_of("；：؛") + b"|" + "—".encode())
_COMMA = re.compile(rb",(?=" + _SPACE + b")|" + _one_of("，、،"))
INNER = (_STOP, _CLAUSE, _COMMA)
"""Where a sentence that is too long is cut first, best first."""


def ends(pattern: re.Pattern[bytes], data: bytes) -> Places:
    """Where the matches end: int64, increasing."""
    return np.fromiter((match.end() for match in pattern.finditer(data)), dtype=np.int64)


def sentence_ends(data: bytes) -> Places:
    """Behind the stops, and the quotes and brackets after them, that end sentences: int64, increasing.

    A dot ends one where white space follows, but not in a number, behind an initial or a common abbreviation.
    """
    return np.setdiff1d(ends(_END, data), ends(_NO_END, data))


def line_ends(data: bytes) -> Places:
    """Behind line ends, the empty lines after them included: int64, increasing."""
    return ends(_LINE_END, data)
