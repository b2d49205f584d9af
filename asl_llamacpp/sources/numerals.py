"""Numbers as lists and clauses have them."""

from __future__ import annotations

_ROMAN = {1000: "m", 900: "cm", 500: "d", 400: "cd", 100: "c", 90: "xc", 50: "l", 40: "xl", 10: "x", 9: "ix"}
_ROMAN |= {5: "v", 4: "iv", 1: "i"}


def letters(number: int) -> str:
    """1 is a, 26 is z, 27 is aa; other than positive ones are digits."""
    if number < 1:
        return str(number)
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def repeated_letters(number: int) -> str:
    """1 is a, 26 is z, 27 is aa, 28 is bb, as Word counts."""
    if not 1 <= number <= 26 * 20:
        return str(number)
    return chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)


def roman(number: int) -> str:
    """1 is i, 4 is iv; what Romans had no letters for is digits."""
    if not 1 <= number <= 3999:
        return str(number)
    text = ""
    for value, sign in _ROMAN.items():
        n, number = divmod(number, value)
        text += sign * n
    return text
