"""Sentences about what was not read, in the number that it has."""

from __future__ import annotations


def not_read(n: int, thing: str) -> str:
    """As "1 chart was not read" or "3 charts were not read"."""
    return f"{n} {thing} was not read" if n == 1 else f"{n} {thing}s were not read"


def hidden_words(n: int, where: str) -> str:
    """Of words that a file has and does not show, `where`: as "in Word"."""
    words, were = ("word is", "was") if n == 1 else ("words are", "were")
    return f"{n} {words} hidden in it, as {where}, and {were} left out"
