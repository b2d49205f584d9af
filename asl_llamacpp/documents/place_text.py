"""Where a passage stands, in words: its pages, as they are counted and as they are printed, and its section."""

from __future__ import annotations


def pages_text(first: int, last: int, first_label: str | None = None, last_label: str | None = None) -> str:
    """As "page 3", "pages 3-4", "page iv (sheet 6)" where iv is printed on the sixth, "pages iv-v (sheets 6-7)"."""
    sheets = _range(str(first), str(last))
    printed = _range(first_label or str(first), last_label or str(last))
    several = "s" if last > first else ""
    return f"page{several} {printed}" + (f" (sheet{several} {sheets})" if printed != sheets else "")


def place_text(pages: str | None, section: str | None) -> str:
    """As "page 3 · Costs"; empty where neither is known."""
    return " · ".join(filter(None, (pages, section)))


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"
