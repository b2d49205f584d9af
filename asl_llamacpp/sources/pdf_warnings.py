"""What is said about pages of a PDF file that could not be read as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .pdf_text import PageContent

_FEW_LETTERS = 50
_MOSTLY = 0.6  # of a page: a picture with a few letters on it
_DRAWN = 100  # paths: letters may be among them


def is_picture(page: PageContent) -> bool:
    """Whether what there is to read on a page can only be in its pictures or drawings."""
    if page.n_glyphs == 0:
        return bool(page.drawings.pictures) or page.drawings.n_paths > _DRAWN
    return page.n_glyphs < _FEW_LETTERS and page.pictured > _MOSTLY


def page_warnings(pages: Sequence[PageContent]) -> Iterator[str]:
    """A sentence for each way in which pages are not read."""
    pictures = [number for number, page in enumerate(pages, start=1) if is_picture(page)]
    if pictures:
        what = "is a picture, whose text was" if len(pictures) == 1 else "are pictures, whose text was"
        yield f"{numbers(pictures)} {what} not read: add a text layer first, for example with: ocrmypdf"
    garbled = [number for number, page in enumerate(pages, start=1) if page.n_glyphs and page.is_garbled]
    if garbled:
        yield (
            f"{numbers(garbled)} {'has' if len(garbled) == 1 else 'have'} text in fonts that do not tell what their "
            "characters mean, and was left out: save the file anew with the program it comes from, or scan it with OCR"
        )
    unsure = [
        (number, page.n_unknown) for number, page in enumerate(pages, start=1) if page.n_unknown and not page.is_garbled
    ]
    if unsure:
        total = sum(n for _, n in unsure)
        yield (
            f"{numbers([number for number, _ in unsure])}: {total} characters are in fonts that do not tell what they "
            "mean, and may be wrong"
        )


def numbers(pages: Sequence[int]) -> str:
    """As "page 2" or "pages 1, 3-5"."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and runs[-1][-1] == page - 1:
            runs[-1].append(page)
        else:
            runs.append([page])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'page' if len(pages) == 1 else 'pages'} {text}"
