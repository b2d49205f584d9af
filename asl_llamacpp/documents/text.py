"""The text of a document, and the sources that it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..sources import Source

NAMED = 4
"""Sources in the name of a document."""


@dataclass(frozen=True)
class Part:
    """`length` characters of `source` from `start_in_source` on; `start_in_document` is where the document has them."""

    source: Source
    start_in_document: int
    start_in_source: int
    length: int

    @property
    def text(self) -> str:
        return self.source.text[self.start_in_source : self.start_in_source + self.length]


@dataclass(frozen=True)
class DocumentText:
    """The text of one or more sources, one after another; with several, each has its name above it.

    left_out  what was to be read with them, and was not: a sentence each
    """

    text: str
    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, sources: Sequence[Source], left_out: Sequence[str] = ()) -> DocumentText:
        pieces: list[str] = []
        parts: list[Part] = []
        length = 0
        for source in _named_apart(sources):
            head = ("\n\n" if pieces else "") + (f"{source.name}\n\n" if len(sources) > 1 else "")
            body = source.text.lstrip("\n").rstrip()
            start = len(source.text) - len(source.text.lstrip("\n"))
            parts.append(Part(source, length + len(head), start, len(body)))
            pieces += [head, body]
            length += len(head) + len(body)
        return cls("".join(pieces), tuple(parts), tuple(left_out))

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it was read from, each once."""
        return tuple(dict.fromkeys(part.source for part in self.parts))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the sources was not read, or not for certain: a sentence each, with the source's name if several."""
        sources = self.sources
        name = "{0.name}: " if len(sources) > 1 else ""
        return self.left_out + tuple(name.format(source) + text for source in sources for text in source.warnings)


def title(sources: Sequence[Source]) -> str:
    """What a document of these sources is called: their names, of many the first ones."""
    names = [source.name for source in sources]
    return ", ".join(names if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"])


def _named_apart(sources: Sequence[Source]) -> list[Source]:
    """With a number behind names that occur twice, so that evidence says which one is meant."""
    seen: Counter[str] = Counter()
    apart = []
    for source in sources:
        seen[source.name] += 1
        n = seen[source.name]
        apart.append(source if n == 1 else replace(source, name=f"{source.name} ({n})"))
    return apart
