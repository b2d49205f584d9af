"""How a document is to be read, for formats that need to know more than its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class PageProgress:
    """How far the reading of a document with pages is.

    name     of the document
    done     pages that are read
    n_pages  pages that there are to read
    by_ocr   whether these are the pages that are pictures, which take a second each and more
    """

    name: str
    done: int
    n_pages: int
    by_ocr: bool = False


@dataclass(frozen=True)
class Reading:
    """What whoever reads a document wants.

    password  what opens a file that is locked; others are read as without
    on_page   is called after each page; what it raises ends the reading
    ocr       whether pages that are pictures are to be read, where the extra `ocr` is installed
    """

    password: str | None = None
    on_page: Callable[[PageProgress], None] | None = None
    ocr: bool = True

    def report(self, name: str, done: int, n_pages: int, by_ocr: bool = False) -> None:
        """Tell how far it is, if anyone asked."""
        if self.on_page is not None:
            self.on_page(PageProgress(name, done, n_pages, by_ocr))
