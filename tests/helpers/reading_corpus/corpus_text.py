"""Plain text and Markdown, in several encodings."""

from __future__ import annotations

from .case import Case

LINES = "Der Käufer zahlt 5 € für „L“.\nDie Größe gilt."


def case(name: str, text: str, encoding: str = "utf-8", pages: tuple[str, ...] = ()) -> Case:
    return Case(name, lambda: text.encode(encoding), text, pages)


TEXT = (
    case("utf-8.txt", LINES),
    case("utf-8-mark.txt", LINES, "utf-8-sig"),
    case("utf-16.txt", LINES, "utf-16"),
    case("windows-1252.txt", LINES, "cp1252"),
    case("form-feeds.txt", "one\n\ftwo\n\fthree", pages=("one", "two", "three")),
    case("notes.md", "# Notes\n\nAnna decided.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"),
)
