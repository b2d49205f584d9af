"""HTML as text: what DOCX files and chapters of EPUB files become first, too."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from .source import Section

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_DROPPED = ["script", "style", "template", "noscript", "nav", "title", "iframe", "object", "svg", "video", "audio"]
_DROPPED += ["button", "select", "textarea"]
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
# links lead nowhere from a prompt, and stars inside a sentence hide it from whoever looks for the sentence
_OPTIONS: dict[str, Any] = {
    "strip": ["a"],
    "strong_em_symbol": "",
    "sup_symbol": "^",  # 10^6^ is not 106
    "heading_style": "atx",
    "bullets": "-",
    "table_infer_header": True,
    "escape_asterisks": False,
    "escape_underscores": False,
}
_DOCTYPE = re.compile(r"<!DOCTYPE[^>\[]*(?:\[[^\]]*\]\s*)?>", re.IGNORECASE)
_DOCTYPE_WITHIN = 4096
_NUMBER = re.compile(r"(?P<hashes>(?:#{1,6} )?)\0(?P<number>\d+)\0[ \t]*")


def parse_html(html: str) -> BeautifulSoup:
    """The tree of an HTML document or of a part of one."""
    from bs4 import BeautifulSoup

    if doctype := _DOCTYPE.search(html, 0, _DOCTYPE_WITHIN):  # the parser takes the end of a long one for text
        html = html[: doctype.start()] + html[doctype.end() :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XHTML is read as HTML on purpose, and short texts are no file names
        return BeautifulSoup(html, "html.parser")


def html_to_text(soup: BeautifulSoup) -> tuple[str, list[Section]]:
    """The text of a document, with Markdown's headings, lists, tables and code, and where its headings are.

    Changes the tree. Navigation, scripts and forms are dropped, of links and pictures their text is kept.
    """
    from markdownify import MarkdownConverter

    _drop_what_is_no_text(soup)
    titles = _number_headings(soup)
    lines = clean(MarkdownConverter(**_OPTIONS).convert_soup(soup)).split("\n")
    numbered = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")
    pieces: list[str] = []
    sections: list[Section] = []
    start = end = 0
    for match in _NUMBER.finditer(numbered):
        pieces.append(numbered[end : match.start()])
        start += len(pieces[-1])
        sections.append((start, titles[int(match["number"])]))
        pieces.append(match["hashes"])
        start += len(pieces[-1])
        end = match.end()
    return "".join([*pieces, numbered[end:]]), sections


def clean(text: str) -> str:
    """Extracted text as one would type it: plain spaces, no soft hyphens, no halves of characters."""
    text = text.replace("\xa0", " ").replace("\xad", "")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _drop_what_is_no_text(soup: BeautifulSoup) -> None:
    from bs4 import CData
    from bs4.element import PreformattedString

    for tag in soup.find_all(_DROPPED):
        tag.decompose()
    for picture in soup.find_all("img"):
        picture.replace_with(str(picture.get("alt") or ""))
    for text in soup.find_all(string=True):
        if isinstance(text, PreformattedString) and not isinstance(text, CData):
            text.extract()
        elif "\0" in text:
            text.replace_with(text.replace("\0", ""))


def _number_headings(soup: BeautifulSoup) -> list[str]:
    """Put a number between NULs, which no text has, before each heading, to find it again; returns the headings."""
    titles: list[str] = []
    for heading in soup.find_all(_HEADINGS):
        for line_break in heading.find_all("br"):
            line_break.replace_with(" ")
        title = " ".join(clean(heading.get_text()).split())
        if not title:
            heading.decompose()
            continue
        heading.insert(0, f"\0{len(titles)}\0")
        titles.append(title)
    return titles
