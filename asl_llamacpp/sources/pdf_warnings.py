"""What is said about pages of a PDF file that could not be read as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ocr import has_ocr
from .pdf_text import PageContent

HOW_TO_READ = 'install OCR (pip install "asl-llamacpp[ocr]"), or add a text layer, for example with: ocrmypdf'


def page_warnings(pages: Sequence[PageContent], by_ocr: bool) -> Iterator[str]:
    """A sentence for each way in which pages are not read, or not for certain; `by_ocr`: OCR was wanted."""
    recognised = [number for number, page in enumerate(pages, start=1) if page.by_ocr]
    if recognised:
        what = "is a picture, and was" if len(recognised) == 1 else "are pictures, and were"
        yield f"{numbers(recognised)} {what} read by OCR: there may be mistakes in it"
    pictures = [number for number, page in enumerate(pages, start=1) if page.is_picture and not page.by_ocr]
    if pictures:
        what = "is a picture, whose text was" if len(pictures) == 1 else "are pictures, whose text was"
        found = "no text was found by OCR" if has_ocr() and by_ocr else HOW_TO_READ
        yield f"{numbers(pictures)} {what} not read: {found}"
    numbered = [(number, page) for number, page in enumerate(pages, start=1) if page.n_glyphs and not page.by_ocr]
    garbled = [
        number for number, page in enumerate(pages, start=1) if page.n_glyphs and page.is_garbled and not page.by_ocr
    ]
    if garbled:
        yield (
            f"{numbers(garbled)} {'has' if len(garbled) == 1 else 'have'} text in fonts that do not tell what their "
            "characters mean, and was left out: save the file anew with the program it comes from, or scan it with OCR"
        )
    unsure = [(number, page.n_unknown) for number, page in numbered if page.n_unknown and not page.is_garbled]
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
