"""Compares readers on the corpus of tests/helpers/reading_corpus: words, order, tables, pages, seconds, size."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from difflib import SequenceMatcher
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "helpers")]

from reading_corpus import Case, corpus, words  # noqa: E402
from reading_corpus.case import has_row  # noqa: E402

from benchmarks.reading.candidates import ALL, Candidate  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "reading.md"
HEAD = """# Readers

`python -m benchmarks.reading` on {n} small files made by code, with the right text beside them:
`tests/helpers/reading_corpus`. The corpus was written with this reader, to hold the mistakes that others make: its own
row says that it does what it is tested for, and the others' what they would have to be helped with.

- words: F1 of the words, without their order; order: of the longest common blocks of words
- rows: of tables, whose cells are in their columns, empty ones included
- pages: words F1 by page, of PDF files
- hidden: files of which nothing was read that is hidden; failed: files that ended in an error
- ms: a file, mean, without the first, two cores shared with other programs; MB: installed, with what it depends on

| format | reader | words | order | rows | pages | hidden | failed | ms | MB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def f1(got: list[str], right: list[str]) -> float:
    if not right:
        return float(not got)
    shared = sum((Counter(got) & Counter(right)).values())
    return 2 * shared / (len(got) + len(right))


def order(got: list[str], right: list[str]) -> float:
    return SequenceMatcher(None, got, right, autojunk=False).ratio()


def installed(name: str, seen: set[str]) -> int:
    """Bytes of a distribution, and of what it requires."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return 0
    seen.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return 0
    own = sum(file.locate().stat().st_size for file in found.files or () if Path(file.locate()).is_file())  # type: ignore[attr-defined]
    needed = [re.split(r"[^\w.-]", one)[0] for one in found.requires or () if "extra ==" not in one]
    return own + sum(installed(one, seen) for one in needed)


def size(candidate: Candidate) -> int:
    names = candidate.name.split(", ")
    if candidate.name == "asl-llamacpp":
        names = ["pypdfium2", "selectolax"]
    names += {"html.parser": ["beautifulsoup4"], "lxml": ["beautifulsoup4"], "html5lib": ["beautifulsoup4"]}.get(
        names[0], []
    )
    seen: set[str] = set()
    return sum(installed(name, seen) for name in names)


def row(candidate: Candidate, cases: list[Case]) -> str:
    scores: dict[str, list[float]] = {name: [] for name in ("words", "order", "rows", "pages", "hidden")}
    failed, seconds = 0, []
    for case in cases:
        data = case.make()
        begin = time.perf_counter()
        try:
            text = candidate.read(data, case.name)
        except Exception:  # any reader's own
            failed, text = failed + 1, ""
        seconds.append(time.perf_counter() - begin)
        got, right = words(text), words(case.text)
        scores["words"].append(f1(got, right))
        scores["order"].append(order(got, right))
        if case.rows:
            scores["rows"].append(mean(has_row(text, one) for one in case.rows))
        if case.pages and case.suffix == "pdf":
            pages = text.split("\f")
            right_pages = [*case.pages, *[""] * max(len(pages) - len(case.pages), 0)]
            pages += [""] * max(len(right_pages) - len(pages), 0)
            scores["pages"].append(mean(f1(words(a), words(b)) for a, b in zip(pages, right_pages, strict=True)))
        if case.absent:
            scores["hidden"].append(float(not any(one in text for one in case.absent)))
    shown = [f"{mean(values):.2f}" if values else "" for values in scores.values()]
    facts = [str(failed), f"{1000 * mean(seconds[1:]):.1f}", f"{size(candidate) / 1e6:.0f}"]
    return "| " + " | ".join([cases[0].suffix, candidate.name, *shown, *facts]) + " |"


def main() -> None:
    lines = []
    for suffix in ("pdf", "html", "docx", "epub"):
        cases = [case for case in corpus() if case.suffix == suffix]
        for candidate in ALL:
            if suffix in candidate.formats:
                lines.append(row(candidate, cases))
                print(lines[-1], flush=True)
    RESULT.write_text(HEAD.format(n=len(corpus())) + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
