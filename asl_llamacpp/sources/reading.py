"""How a document is to be read, for formats that need to know more than its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 10.0
"""For a page, where nothing else is said."""
MEMORY = 2**30
"""Bytes."""


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

    password       what opens a file that is locked; others are read as without
    on_page        is called after each page; what it raises ends the reading
    ocr            whether pages that are pictures are to be read, where the extra `ocr` is installed
    seconds        the longest time that may pass without a page, a chapter or a sheet being read; None: no limit, and
                   files are read in this process
    memory         bytes that the process which reads may take beside the file
    on_wait        is called ten times a second while that process reads; what it raises ends the reading
    allow_private  whether URLs may lead to this machine and its network
    """

    password: str | None = None
    on_page: Callable[[PageProgress], None] | None = None
    ocr: bool = True
    seconds: float | None = SECONDS
    memory: int = MEMORY
    on_wait: Callable[[], None] | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"read_timeout={self.seconds!r}: seconds above 0, or None for no limit")

    def report(self, name: str, done: int, n_pages: int, by_ocr: bool = False) -> None:
        """Tell how far it is, if anyone asked."""
        if self.on_page is not None:
            self.on_page(PageProgress(name, done, n_pages, by_ocr))
