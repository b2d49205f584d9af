"""What a thinking model says to itself before its answer, told apart from that while both arrive piece by piece."""

from __future__ import annotations

START, END = "<think>", "</think>"


class Reasoning:
    """Divides an answer's pieces at the tags of its thinking; `thought` is what has been thought so far.

    begun  whether the prompt's end has opened the thinking already
    """

    def __init__(self, begun: bool = False) -> None:
        self._thinks = begun
        self._held = ""
        self.thought = ""

    def feed(self, piece: str) -> str:
        """The part of the answer that is certain after this piece, without any thought."""
        self._held += piece
        said = ""
        while True:
            tag = END if self._thinks else START
            before, found, after = self._held.partition(tag)
            if found:
                said += self._take(before)
                self._thinks, self._held = not self._thinks, after
                continue
            kept = _begins(self._held, tag)
            said += self._take(self._held[: len(self._held) - kept])
            self._held = self._held[len(self._held) - kept :]
            return said

    def finish(self) -> str:
        """What was held back, for it could have become a tag."""
        rest, self._held = self._held, ""
        return self._take(rest)

    def _take(self, text: str) -> str:
        if not self._thinks:
            return text
        self.thought += text
        return ""


def _begins(text: str, tag: str) -> int:
    """Characters at the end of `text` that may be the beginning of `tag`."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)


def without_reasoning(text: str) -> str:
    """An answer without its thoughts, as it stands among the turns of a conversation."""
    reasoning = Reasoning()
    return (reasoning.feed(text) + reasoning.finish()).strip()
