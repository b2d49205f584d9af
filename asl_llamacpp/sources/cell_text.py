"""Values of spreadsheet cells as they are shown there."""

from __future__ import annotations

import datetime as dt
import re

_QUOTED = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|\[[^\]]*\]|_.|\*.')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.(?P<decimals>[#0?]+))?")
_CURRENCY = "€$£¥₹₽₩₺₴"


def cell_text(value: object, number_format: str = "General") -> str:
    """What a cell shows: dates in ISO's form, numbers without thousands separators, with percent signs and units."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime):
        if value.time() == dt.time():
            return value.date().isoformat()
        return value.isoformat(" ", "minutes" if not value.second else "seconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        return value.isoformat("minutes" if not value.second else "seconds")
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(value, int | float):
        return _number_text(value, number_format)
    return str(value)


def _number_text(value: int | float, number_format: str) -> str:
    sections = number_format.split(";")
    own = value < 0 and len(sections) > 1  # a format for negative numbers, which says how the sign looks
    section = sections[1] if own else sections[0]
    digits = _DIGITS.search(_QUOTED.sub(lambda found: "\1" * len(found[0]), section))
    if number_format == "General" or digits is None or "E" in section:
        return _plain(value)
    before, after = _literal(section[: digits.start()]), _literal(section[digits.end() :])
    shown = abs(value) * 100 if "%" in before + after else abs(value)
    decimals = digits["decimals"] or ""
    text = f"{shown:.{len(decimals)}f}" if decimals and set(decimals) == {"0"} else _plain(shown)
    sign = "-" if value < 0 else ""
    return sign + f"{before.strip('(-')}{text}{after.strip(')')}".strip()


def _literal(piece: str) -> str:
    text = _QUOTED.sub(lambda found: found[1] or found[2] or found[3] or "", piece)
    return "".join(c for c in text if c.isalpha() or c in " %()-/°²³µ·" or c in _CURRENCY)


def _plain(value: int | float) -> str:
    """15 significant digits, as spreadsheets show."""
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    text = f"{value:.15g}"
    if "e" in text and 1e-9 < abs(value) < 1e15:
        text = f"{value:.15f}".rstrip("0").rstrip(".")
    return text
