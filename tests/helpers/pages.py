"""The project's pages in Markdown: their Python blocks, headings and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_HIDDEN = re.compile(r"<!-- hidden\n(.*?)-->", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^()\s]+(?:\([^()]*\))?)\)")
_INLINE_CODE = re.compile(r"`+[^`]*`+")


FOLDERS = ("asl_llamacpp", "benchmarks", "docs", "examples", "patches", "tests", "vendor")


@dataclass(frozen=True)
class Block:
    """A piece of Python in a page; `line` is the one of the page that it begins in."""

    page: Path
    line: int
    code: str

    @property
    def padded(self) -> str:
        """With empty lines before it, so that a traceback names the page's line."""
        return "\n" * (self.line - 1) + self.code


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def python_blocks(page: Path) -> list[Block]:
    """What a page's reader runs, in order, and what is hidden from them: comments that begin with `<!-- hidden`."""
    text = page.read_text(encoding="utf-8")
    hidden = [Block(page, text.count("\n", 0, found.start(1)) + 1, found[1]) for found in _HIDDEN.finditer(text)]
    shown: list[Block] = []
    lines, language, begin = text.splitlines(), None, 0
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if language is None:
            language, begin = fence[3].strip(), number + 1
        else:
            if language == "python":
                shown.append(Block(page, begin, "\n".join(lines[begin - 1 : number - 1]) + "\n"))
            language = None
    assert language is None, f"{page} has a fence that does not end"
    return sorted([*hidden, *shown], key=lambda block: block.line)


def prose(page: Path) -> str:
    """The page without code."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside and not line.startswith("    "):
            kept.append(_INLINE_CODE.sub("`code`", line))
    return "\n".join(kept)


def links(page: Path) -> list[str]:
    """Targets of its links and pictures, those in the text of other links included."""
    found: list[str] = []
    rest = [prose(page)]
    while rest:
        for _, text, target in _LINK.findall(rest.pop()):
            found.append(target)
            rest.append(text)
    return found


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives its headings."""
    names: set[str] = set()
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        heading = re.match(r"#{1,6} +(.+?) *#*$", line)
        if heading and not inside:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            names.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return names
