"""Small documents of all formats with what is right to read in them: for tests, and for comparing readers.

They are made when they are asked for, and are the same each time.
"""

from __future__ import annotations

from functools import cache

from .case import Case, words
from .corpus_books import BOOKS
from .corpus_html import HTML
from .corpus_pdf import PDF
from .corpus_pdf_layout import LAYOUT
from .corpus_pdf_more import MORE
from .corpus_text import TEXT
from .corpus_word import WORD


@cache
def corpus() -> tuple[Case, ...]:
    """All documents."""
    return (*PDF, *LAYOUT, *MORE, *HTML, *WORD, *BOOKS, *TEXT)


__all__ = ["Case", "corpus", "words"]
