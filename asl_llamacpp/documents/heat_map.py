"""A document as a heat map in one HTML file: what the selection kept of it, and how much attention it drew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .evidence import Span, check_lengths
from .heat_text import SHADES, document_html
from .text import Part

ENDINGS = (".html", ".htm")

LISTED = 10
"""So many spans are listed and numbered."""

_QUOTE = 320

_HOW = (
    "Among the passages only words and numbers count, the first tokens of the document do not, and the last ones "
    "count less: these draw attention whatever they say. The shades show the plain attention."
)


def check_heat_map_path(path: str | Path) -> None:
    """Whether `write_heat_map` will be able to write `path`: worth knowing before a long prefill.

    Raises:
        ValueError: not a .html or .htm file.
        FileNotFoundError: its folder does not exist.
        IsADirectoryError: there is a folder of this name.
        PermissionError: its folder cannot be written to.
    """
    path = Path(path)
    folder = path.absolute().parent
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot write {path.name!r}: give the heat map one of the endings {', '.join(ENDINGS)}")
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder for the heat map: {folder}")
    if path.is_dir():
        raise IsADirectoryError(f"the heat map cannot replace a folder: {path.absolute()}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"no permission to write the heat map into {folder}")


def write_heat_map(
    path: str | Path,
    *,
    title: str,
    question: str,
    answer: str,
    parts: Sequence[Part],
    kept: NDArray[np.bool_],
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    spans: Sequence[Span],
    report_line: str = "",
    pruned: bool = True,
    note: str = "",
) -> None:
    """Write question, answer, the best spans and the shaded document into the file `path`, all at once or not at all.

    The file needs no script and nothing from elsewhere. `kept`, `scores`, `offsets` and `parts` are what `spans` was
    made from; its first `LISTED` are listed. `report_line` tells about the prefill. `pruned` is False where `kept` is
    merely the best share of the tokens. `note` says what the passages are.

    Raises:
        ValueError: the lengths of the arrays do not fit each other.
        ValueError, OSError: as `check_heat_map_path`; OSError too if the disk is full.
    """
    check_heat_map_path(path)
    check_lengths(kept, scores, offsets)
    listed = spans[:LISTED]
    count = f"{int(kept.sum()):,} of {len(kept):,} tokens of the document " + (
        "went deeper" if pruned else "are shaded"
    )
    facts = [count, report_line] if report_line else [count]
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{resources.files(__package__).joinpath("heat_map.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<p class="title">{escape(title)}</p>
<h1 dir="auto">{escape(question)}</h1>
<div class="answer" dir="auto">{escape(answer)}</div>
<p class="facts">{escape(" · ".join(facts))}</p>
</header>
<section>
<h2>Passages</h2>
<p class="note">{escape(note)}</p>
{_list_html(listed)}
<p class="note">{_HOW}</p>
</section>
<main>
<h2>Document</h2>
<p class="legend">{_legend("not kept" if pruned else "the rest")}</p>
{document_html(parts, kept, scores, offsets, listed)}</main>
</body>
</html>
"""
    _write(Path(path), page)


def _list_html(listed: Iterable[Span]) -> str:
    items = [
        f'<li id="e{number}"><a href="#s{number}"><q dir="auto">{escape(_quote(span.text))}</q>'
        f'<span class="where">{escape(span.where)}</span>'
        f'<span class="bar"><b style="width:{100 * span.score:.0f}%"></b></span></a></li>'
        for number, span in enumerate(listed, 1)
    ]
    return "<ol>\n" + "\n".join(items) + "\n</ol>" if items else '<p class="none">No passage was kept.</p>'


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE else line[:_QUOTE].rsplit(" ", 1)[0] + " …"


def _legend(rest: str) -> str:
    shades = "".join(f"<i class={shade}></i>" for shade in reversed(SHADES))
    return f'<span>less</span>{shades}<span>more attention</span><span class="out">{rest}</span>'


def _write(path: Path, page: str) -> None:
    """By a file beside it: a reader never sees half a page, and an error leaves an older one as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))
        os.replace(partial, path)
    except OSError as error:
        raise type(error)(f"cannot write the heat map {path}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
