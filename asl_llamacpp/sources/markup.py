"""HTML as text: what chapters of EPUB files and others become, too."""

from __future__ import annotations

from dataclasses import dataclass

from .html_blocks import Blocks
from .html_hidden import drop_hidden
from .html_tree import Element, parse_html
from .html_walk import walk
from .left_out import hidden_words
from .plain_text import clean
from .source import Heading, Section

__all__ = ["Element", "Rendered", "clean", "html_to_text", "parse_html", "render"]


@dataclass(frozen=True)
class Rendered:
    """text      with Markdown's headings, lists, tables and code
    headings  where they begin in it
    n_hidden  words that the document has, but does not show
    """

    text: str
    headings: list[Heading]
    n_hidden: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said about it."""
        if not self.n_hidden:
            return ()
        return (hidden_words(self.n_hidden, "on the page itself"),)


def render(tree: Element) -> Rendered:
    """The text of a document. Changes the tree: what is not shown goes. Of links and pictures their text is kept."""
    n_hidden = drop_hidden(tree)
    blocks = Blocks()
    walk(tree, blocks)
    return Rendered(*blocks.finished(), n_hidden)


def html_to_text(tree: Element) -> tuple[str, list[Section]]:
    """As `render`: the text, and where its headings are."""
    rendered = render(tree)
    return rendered.text, [(heading.start, heading.title) for heading in rendered.headings]
