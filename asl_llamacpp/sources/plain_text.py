"""Extracted text as one would type it."""

from __future__ import annotations

import re

_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\xad\u200b\ufeff]")


def clean(text: str) -> str:
    """Extracted text as one would type it: plain spaces, no soft hyphens, no control or half characters."""
    text = _ODD.sub("", text.replace("\xa0", " ").replace("\u202f", " "))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
